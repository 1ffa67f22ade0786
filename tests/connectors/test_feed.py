"""The feed: each row of its source is in the topic once, and nothing else may be there."""

import json
import re

import pytest
from feed_parts import PURCHASES, numbers_of, small_file
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import CoordinatorLoadInProgressError, KafkaConnectionError, for_code
from kafka.partitioner.default import DefaultPartitioner
from kafka_connector_parts import WAIT_S, broker_fixture, produce, records_of, topic_fixture

from stormline.connectors import kafka_appender
from stormline.connectors.feed import Fed, Feed
from stormline.connectors.feed_file import CsvFile
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.kafka import ensure_topic
from stormline.connectors.kafka_appender import Appender
from stormline.core.errors import ServerError, StateError

broker, topic = broker_fixture, topic_fixture


@pytest.fixture
def settings(tmp_path, topic):
    return FeedSettings(topic, CsvFile(small_file(tmp_path / "f.csv"), "key", "time"), 3)


def test_every_row_is_there_once_in_the_partition_of_its_key(broker, settings):
    """In the order of the file, where Kafka's own partitioner puts the key, with the row's number and time."""
    fed = Feed(broker.brokers, settings).run()
    records = records_of(broker, settings.topic, 3)
    assert fed == Fed(2_500, 2_500, {partition: len(found) for partition, found in records.items()})
    numbers = numbers_of(records)
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_501))
    assert all(found == sorted(found) for found in numbers.values())

    class Cluster:
        topics = staticmethod(lambda: [settings.topic])
        partitions_for_topic = available_partitions_for_topic = staticmethod(lambda _: {0, 1, 2})

    for partition, found in records.items():
        for record in found:
            assert DefaultPartitioner().partition(settings.topic, None, record.key, None, None, Cluster) == partition
            assert record.headers == [("row", str(json.loads(record.value)["number"]).encode())]
            assert record.timestamp == 1_577_836_800_000


def test_a_second_feed_sends_nothing(broker, settings):
    """And says so."""
    first = Feed(broker.brokers, settings).run()
    assert Feed(broker.brokers, settings).run() == first._replace(sent=0)


def test_rows_appended_to_the_file_are_fed_later(broker, settings):
    """Only those."""
    Feed(broker.brokers, settings).run()
    small_file(settings.source.file, 2_600)
    assert Feed(broker.brokers, settings).run().sent == 100
    numbers = numbers_of(records_of(broker, settings.topic, 3))
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_601))


def test_a_stopped_feed_goes_on_later(broker, topic):
    """`stop` ends it soon; the next one sends the rest."""
    settings = FeedSettings(topic, CsvFile(PURCHASES, "user_id", "date"), 4)
    feed = Feed(broker.brokers, settings)
    first = feed.run(lambda there, rows: feed.stop())
    assert 0 < first.sent < first.rows
    second = Feed(broker.brokers, settings).run()
    assert first.sent + second.sent == second.rows == sum(second.ends.values())


@pytest.mark.parametrize("foreign", [{}, {"headers": [("row", b"1")]}])
def test_a_topic_with_other_records_is_refused(broker, settings, foreign):
    """Nothing is sent: the feed could not tell which rows are there."""
    ensure_topic(broker.brokers, settings.topic, 3)
    produce(broker, settings.topic, 0, [b"{}"] * 3, **foreign)
    with pytest.raises(
        StateError, match=f"topic {settings.topic} does not hold the rows of .*f.csv .* and nothing else"
    ):
        Feed(broker.brokers, settings).run()
    assert [len(found) for found in records_of(broker, settings.topic, 3).values()] == [3, 0, 0]


@pytest.mark.parametrize("stopped", [False, True])
def test_another_file_with_as_many_rows_and_the_same_keys_is_refused(broker, settings, stopped):
    """By the contents of the last row of a partition; the message has both, and what to do."""
    feed = Feed(broker.brokers, settings)
    before = feed.run((lambda there, rows: feed.stop()) if stopped else None)
    assert (before.sent < 2_500) == stopped
    text = settings.source.file.read_text()
    settings.source.file.write_text(re.sub("(?<=,)([0-9]+)$", r"\g<1>.5", text, flags=re.MULTILINE))
    with pytest.raises(StateError) as refused:
        Feed(broker.brokers, settings).run()
    told = re.search(
        r"f.csv \(key key, event time time\) and nothing else: (\S*)/([0-2]) ends with row ([0-9]+), but its value "
        r'there is {.*"number":([0-9]+)}, by the source {.*"number":([0-9]+).5}\. ',
        str(refused.value),
    )
    assert told is not None, str(refused.value)
    assert told[1] == settings.topic
    assert told[3] == told[4] == told[5]
    assert "feed another topic, or delete this one, as `sparse run --fresh` does with those" in str(refused.value)
    assert sum(before.ends.values()) == sum(map(len, records_of(broker, settings.topic, 3).values()))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            {"key": None},
            r"\(no key, event time time\).* ends with row [0-9]+, .*; its key there is [0-9]+, by the source none",
        ),
        ({"key": "number"}, r"ends with row [0-9]+, .*; its key there is [0-9]{1,2}, by the source [0-9]+\."),
        ({"event_time": "at"}, "its timestamp there is 1577836800000 ms, by the source 1577923200000 ms"),
    ],
    ids=["no-key", "key", "time"],
)
def test_a_source_with_another_key_or_event_time_is_refused_with_them(broker, settings, other, told):
    """A forgotten --key puts rows elsewhere, which as a number says nothing to anybody."""
    first, *lines = settings.source.file.read_text().splitlines()
    settings.source.file.write_text("\n".join([f"{first},at", *(f"{line},2020-01-02" for line in lines)]))
    Feed(broker.brokers, settings).run()
    with pytest.raises(StateError, match=told):
        Feed(broker.brokers, settings._replace(source=settings.source._replace(**other))).run()


def test_a_timestamp_of_the_brokers_own_is_no_difference(broker, settings):
    """With message.timestamp.type=LogAppendTime the rows have none of the source."""
    ensure_topic(broker.brokers, settings.topic, 3, configs={"message.timestamp.type": "LogAppendTime"})
    first = Feed(broker.brokers, settings).run()
    assert Feed(broker.brokers, settings).run() == first._replace(sent=0)


def test_a_record_that_no_feed_has_sent_is_told_as_that(broker, settings):
    """With its place."""
    Feed(broker.brokers, settings).run()
    produce(broker, settings.topic, 1, [b"{}"])
    end = len(records_of(broker, settings.topic, 3)[1]) - 1
    with pytest.raises(
        StateError, match=f"{settings.topic}/1 ends with a record, at offset {end}, that no feed has sent"
    ):
        Feed(broker.brokers, settings).run()


def test_a_topic_with_more_records_than_rows_is_refused(broker, settings):
    """The file was cut, or another one has been fed."""
    Feed(broker.brokers, settings).run()
    small_file(settings.source.file, 2_000)
    with pytest.raises(
        StateError,
        match=r"/[0-2] holds [0-9,]+ rows, of the source there are [0-9]+ for it; the source has no such row\.",
    ):
        Feed(broker.brokers, settings).run()


def test_another_number_of_partitions_is_refused(broker, settings):
    """The rows would go to other partitions than those already there."""
    ensure_topic(broker.brokers, settings.topic, 2)
    with pytest.raises(StateError, match="has 2 partitions, not 3"):
        Feed(broker.brokers, settings).run()


def test_a_second_writer_is_noticed(broker, topic):
    """A record that someone else appends while the feed runs ends it, with the offset where it showed."""
    settings = FeedSettings(topic, CsvFile(PURCHASES, "user_id", "date"), 4)
    producer = KafkaProducer(bootstrap_servers=broker.address)

    def intrude(there, rows):
        for partition in range(4):
            producer.send(topic, value=b"{}", partition=partition).get(WAIT_S)

    with pytest.raises(ServerError, match="someone else writes to this topic"):
        Feed(broker.brokers, settings).run(intrude)
    producer.close()


def test_a_batch_whose_answer_is_lost_is_not_doubled(broker, settings, monkeypatch):
    """The feed does not know whether the broker has it, and looks: only what is not there is sent again."""
    send, calls = Appender._send, []

    async def send_and_forget(appender, partition, batch):
        calls.append(batch)
        number = len(calls)  # others are sent while this one waits
        if number == 1:
            raise KafkaConnectionError("the batch is lost")
        offset = await send(appender, partition, batch)
        if number == 3:
            raise KafkaConnectionError("the answer is lost")
        return offset

    monkeypatch.setattr(Appender, "_send", send_and_forget)
    assert Feed(broker.brokers, settings).run().sent == 2_500
    assert len(calls) == len(set(calls)) + 1
    numbers = numbers_of(records_of(broker, settings.topic, 3))
    assert sorted(number for found in numbers.values() for number in found) == list(range(1, 2_501))


def test_a_broker_that_has_just_started_is_waited_for(broker, settings, monkeypatch):
    """A real one has no producer ids to give for some seconds and says so: the feed asks again."""
    answers = [CoordinatorLoadInProgressError] * 2
    monkeypatch.setattr(kafka_appender, "for_code", lambda code: answers.pop() if answers else for_code(code))
    assert Feed(broker.brokers, settings).run().sent == 2_500
    assert not answers


def test_a_fed_topic_keeps_historic_records(broker, settings):
    """Its retention is not Kafka's week, by which records of 1997 would go within minutes."""
    Feed(broker.brokers, settings).run()
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic)], config_filter="all")
    admin.close()
    assert "-1" == described["topic"][settings.topic]["retention.ms"]["value"]
