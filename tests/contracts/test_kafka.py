"""What Stormline relies on from a Kafka, asked through both clients. Any Kafka server must pass all of it."""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, OffsetSpec, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
)

from tests.contracts.kafka_clients import WAIT_S, Client, KafkaPython, Sent, client
from tests.contracts.kafka_servers import kafka

__all__ = ["client", "kafka"]
pytestmark = pytest.mark.timeout(60)
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
_names = itertools.count()


@pytest.fixture(scope="module")
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    """An admin client for the module."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    yield admin
    admin.close()


@pytest.fixture
def either(kafka: str) -> Client:
    """A client for what has nothing to do with which it is."""
    return KafkaPython(kafka)


@pytest.fixture
def topic(admin: KafkaAdminClient) -> str:
    """A fresh topic with two partitions. Records of any age are kept."""
    name = f"contract-{next(_names)}"
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1, "configs": {"retention.ms": "-1"}}})
    return name


def test_records_come_back_as_they_were_sent(client: Client, topic: str) -> None:
    """Key, value, time and headers of a record survive; so do an empty value and a missing key."""
    sent = [Sent(b"v%d" % i, b"k%d" % i, 1000 + i, headers=(("h", b"1"), ("h", b"2"))) for i in range(50)]
    sent += [Sent(b"", None, 2000)]

    offsets = client.send(topic, sent)

    got = client.read(topic, 51)
    assert offsets == list(range(51))
    assert [(row.value, row.key, row.timestamp, row.headers) for row in got] == [
        (row.value, row.key, row.timestamp, row.headers) for row in sent
    ]
    assert [row.offset for row in got] == offsets


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_stored_and_served(client: Client, topic: str, codec: str) -> None:
    """Compressed records come back; a look-up by time inside their batch is exact, or early, but never too late.

    Early is for a server that has no library for the codec and answers the first offset of the batch.
    """
    sent = [Sent(b"value " * 20, b"%d" % i, 1000 + 10 * i, headers=(("h", b"x"),)) for i in range(100)]
    try:
        client.send(topic, sent, codec=codec)
    except RuntimeError as error:
        if "Libraries for" not in str(error):
            raise
        pytest.skip(f"kafka-python: {error}")

    got = client.read(topic, 60, start=40)

    assert [(row.offset, row.key, row.headers) for row in got[:60]] == [
        (i, b"%d" % i, (("h", b"x"),)) for i in range(40, 100)
    ]
    (found,) = client.offsets_at(topic, [1555])
    assert found == 56 or (codec not in ("none", "gzip") and found is not None and found < 56)


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_each_kind_of_acknowledgement_stores_all(client: Client, topic: str, acks: int) -> None:
    """Records are stored whether the producer waits for no, the leader's or all acknowledgements."""
    client.send(topic, [Sent(b"%d" % i) for i in range(30)], acks=acks)

    assert [row.value for row in client.read(topic, 30)] == [b"%d" % i for i in range(30)]


def test_bounds_are_the_first_and_the_next_offset(client: Client, topic: str) -> None:
    """The end is one past the last record, also when one batch holds many; partitions do not mix."""
    assert client.bounds(topic) == (0, 0)

    client.send(topic, [Sent(b"x")] * 70)

    assert client.bounds(topic) == (0, 70)
    assert client.bounds(topic, partition=1) == (0, 0)


def test_time_finds_the_first_record_not_older(client: Client, topic: str) -> None:
    """The earliest offset with a time at or after the asked one, times out of order too; nothing after the last."""
    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (100, 300, 200, 400, 350)])
    client.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (310, 500)])

    found = client.offsets_at(topic, (1, 100, 101, 300, 301, 400, 401, 500, 501))

    assert found == [0, 0, 1, 1, 3, 3, 6, 6, None]


def test_the_newest_record_can_be_looked_up(admin: KafkaAdminClient, either: Client, topic: str) -> None:
    """The offset of the record with the highest time is known, wherever in the log it is."""
    either.send(topic, [Sent(b"x", timestamp=time_ms) for time_ms in (5, 9, 3)])
    place = TopicPartition(topic, 0)

    (found,) = admin.list_partition_offsets({place: OffsetSpec.MAX_TIMESTAMP}).values()

    assert (found.offset, found.timestamp) == (1, 9)


def test_an_offset_out_of_range_is_an_error(client: Client, topic: str) -> None:
    """Without a reset policy, reading past the end fails at once instead of waiting for ever."""
    client.send(topic, [Sent(b"x")] * 3)

    with pytest.raises(Exception, match=r"(?i)out.?of.?range") as caught:
        client.read(topic, 1, start=1000)
    assert not isinstance(caught.value, AssertionError)


def test_an_offset_out_of_range_resets_to_the_earliest(client: Client, topic: str) -> None:
    """With the policy earliest, reading goes on at the first record there is."""
    client.send(topic, [Sent(b"%d" % i) for i in range(3)])

    assert client.read(topic, 3, start=1000, reset="earliest")[0].value == b"0"


def test_a_large_message_fits(client: Client, topic: str) -> None:
    """A message of 900 kB passes, and does not keep the small one after it from being read."""
    client.send(topic, [Sent(b"a" * 900_000), Sent(b"b")])

    assert [len(row.value) for row in client.read(topic, 2)] == [900_000, 1]


def test_a_message_larger_than_the_fetch_is_not_in_the_way(kafka: str, either: Client, topic: str) -> None:
    """A consumer that asks for little at a time still gets a large message, whole, and what is after it."""
    either.send(topic, [Sent(b"a" * 100_000), Sent(b"b")])
    consumer = KafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", max_partition_fetch_bytes=1000, fetch_max_bytes=1000
    )
    consumer.assign([TopicPartition(topic, 0)])
    sizes: list[int] = []

    def has_both() -> bool:
        sizes.extend(len(row.value) for rows in consumer.poll(200).values() for row in rows)
        return len(sizes) == 2

    _wait_until(has_both)
    assert sizes == [100_000, 1]
    consumer.close()


def test_a_message_over_the_limit_is_refused(client: Client, topic: str) -> None:
    """Over max.message.bytes the producer gets an error, nothing is stored, and the partition goes on."""
    with pytest.raises(Exception, match=r"(?i)too.?large"):
        client.send(topic, [Sent(b"a" * 1_100_000)])

    assert client.bounds(topic) == (0, 0)
    assert client.send(topic, [Sent(b"b")]) == [0]


def test_a_fetch_wakes_when_records_come(kafka: str, either: Client, topic: str) -> None:
    """A consumer that waits at the end gets a new record long before its longest wait is over."""
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=15_000, auto_offset_reset="earliest")
    consumer.assign([place])
    assert consumer.poll(300) == {}  # its fetch now waits at the server
    started = time.monotonic()

    either.send(topic, [Sent(b"x")])

    assert [row.value for row in consumer.poll(WAIT_S * 1000)[place]] == [b"x"]
    assert time.monotonic() - started < 10
    consumer.close()


def test_a_fetch_waits_for_the_bytes_it_asked_for(kafka: str, either: Client, topic: str) -> None:
    """With fetch_min_bytes, little data is held back until more comes or the wait is over."""
    place = TopicPartition(topic, 0)
    settings = {"fetch_min_bytes": 50_000, "fetch_max_wait_ms": 15_000, "auto_offset_reset": "earliest"}
    consumer = KafkaConsumer(bootstrap_servers=kafka, **settings)
    consumer.assign([place])
    either.send(topic, [Sent(b"x")])
    assert consumer.poll(300) == {}

    either.send(topic, [Sent(b"y" * 60_000)])

    assert [len(row.value) for row in consumer.poll(WAIT_S * 1000)[place]] == [1, 60_000]
    consumer.close()


def test_commits_are_kept_with_their_metadata(client: Client, topic: str) -> None:
    """A group that is only a name keeps the offset and the note last committed; another group has none."""
    group = f"group-of-{topic}"
    assert client.committed(group, topic) is None

    client.commit(group, topic, 5, "first")
    client.commit(group, topic, 3, "then back")

    assert client.committed(group, topic) == (3, "then back")
    assert client.committed("another-group", topic) is None


def test_a_group_goes_on_where_it_has_committed(client: Client, topic: str) -> None:
    """A member reads everything once; its successor in the group reads only what is new."""
    client.send(topic, [Sent(b"%d" % i, partition=i % 2) for i in range(40)])
    first = client.member(f"group-of-{topic}", topic)
    first.wait_for(lambda member: len(member.values) == 40)
    first.close()
    client.send(topic, [Sent(b"new")])

    second = client.member(f"group-of-{topic}", topic)
    second.wait_for(lambda member: len(member.values) > 0)
    second.close()

    assert sorted(first.values) == sorted(b"%d" % i for i in range(40))
    assert second.values == [b"new"]


def test_members_share_partitions_and_take_over(client: Client, topic: str) -> None:
    """Two members have one partition each; when one leaves, the other gets both."""
    first = client.member(f"group-of-{topic}", topic)
    first.wait_for(lambda member: member.partitions == {0, 1})

    second = client.member(f"group-of-{topic}", topic)
    second.wait_for(lambda member: len(member.partitions) == 1)
    first.wait_for(lambda member: len(member.partitions) == 1)
    assert first.partitions | second.partitions == {0, 1}
    second.close()

    first.wait_for(lambda member: member.partitions == {0, 1})
    first.close()


def test_a_stranger_cannot_commit_for_a_living_group(kafka: str, either: Client, topic: str) -> None:
    """While a group has members, a commit by name alone is refused and changes nothing."""
    group = f"group-of-{topic}"
    member = either.member(group, topic)
    member.wait_for(lambda member: member.partitions == {0, 1})
    stranger = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    stranger.assign([TopicPartition(topic, 0)])

    with pytest.raises(KafkaError):
        stranger.commit({TopicPartition(topic, 0): OffsetAndMetadata(7, "", -1)})

    stranger.close(autocommit=False)
    member.close()
    assert either.committed(group, topic) is None


def test_groups_are_listed_described_and_deleted(admin: KafkaAdminClient, client: Client, topic: str) -> None:
    """A group with a member is stable and cannot be deleted; without one it is empty and can."""
    group = f"group-of-{topic}"
    client.commit(group, topic, 1, "")
    member = client.member(group, topic)
    member.wait_for(lambda member: member.partitions == {0, 1})

    assert admin.describe_groups([group])[group]["group_state"] == "Stable"
    assert admin.delete_groups([group]) == {group: "NonEmptyGroupError"}
    member.close()
    assert admin.describe_groups([group])[group]["group_state"] == "Empty"
    assert group in {row["group_id"] for row in admin.list_groups()}
    assert admin.delete_groups([group]) == {group: "OK"}
    assert client.committed(group, topic) is None


def test_committed_offsets_can_be_changed_and_forgotten(admin: KafkaAdminClient, either: Client, topic: str) -> None:
    """An operator can set, list and delete the offsets of a group without members."""
    group = f"group-of-{topic}"
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)

    admin.alter_group_offsets(group, {first: OffsetAndMetadata(5, "", -1), second: OffsetAndMetadata(6, "", -1)})
    listed = admin.list_group_offsets({group: None})[group]
    assert {place: row.offset for place, row in listed.items()} == {first: 5, second: 6}

    admin.delete_group_offsets(group, [first])
    assert set(admin.list_group_offsets({group: None})[group]) == {second}
    assert either.committed(group, topic) is None


def test_a_static_member_may_come_back(kafka: str, topic: str) -> None:
    """A member with an instance id that comes back takes its own place at once, though it never left."""
    settings = {"bootstrap_servers": kafka, "group_id": f"group-of-{topic}", "group_instance_id": "one"}
    places = {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    consumers = []
    for _ in range(2):
        consumer = KafkaConsumer(topic, **settings)
        deadline = time.monotonic() + WAIT_S
        while consumer.assignment() != places:
            assert time.monotonic() < deadline
            consumer.poll(500)
        consumers.append(consumer)
    for consumer in reversed(consumers):
        consumer.close()


def test_topics_are_created_grown_and_deleted(admin: KafkaAdminClient, either: Client, topic: str) -> None:
    """A topic has the partitions asked for, may get more, and takes its records and commits along at the end."""
    either.send(topic, [Sent(b"x")])
    either.commit(f"group-of-{topic}", topic, 1, "")

    admin.create_partitions({topic: 4})
    assert len(admin.describe_topics([topic])[0]["partitions"]) == 4
    assert either.send(topic, [Sent(b"y", partition=3)]) == [0]
    with pytest.raises(InvalidPartitionsError):
        admin.create_partitions({topic: 3})
    old_id = admin.describe_topics([topic])[0]["topic_id"]
    admin.delete_topics([topic])
    _wait_until(lambda: topic not in admin.list_topics())

    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    assert either.bounds(topic) == (0, 0)
    _wait_until(lambda: either.committed(f"group-of-{topic}", topic) is None)
    assert admin.describe_topics([topic])[0]["topic_id"] not in (None, old_id)


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline


def test_a_topic_that_cannot_be_is_refused(admin: KafkaAdminClient, topic: str) -> None:
    """A name in use, an illegal name, no partitions and too many replicas are errors of their own."""
    one = {"num_partitions": 1, "replication_factor": 1}
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({topic: one})
    with pytest.raises(InvalidTopicError):
        admin.create_topics({"no/slash": one})
    with pytest.raises(InvalidPartitionsError):
        admin.create_topics({f"{topic}-none": one | {"num_partitions": 0}})
    with pytest.raises(InvalidReplicationFactorError):
        admin.create_topics({f"{topic}-three": one | {"replication_factor": 3}})
    admin.create_topics({f"{topic}-tried": one}, validate_only=True)
    assert not {name for name in admin.list_topics() if name.startswith(f"{topic}-")}


def test_settings_of_a_topic_can_be_read(admin: KafkaAdminClient, topic: str) -> None:
    """What was set at creation is told, and a limit for one topic holds for that topic."""
    name = f"{topic}-small"
    settings = {"max.message.bytes": "2000", "retention.ms": "86400000"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": settings}})

    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)], config_filter="all")

    values = described["topic"][name]
    assert {key: values[key]["value"] for key in settings} == settings


def test_deleted_records_move_the_first_offset(admin: KafkaAdminClient, client: Client, topic: str) -> None:
    """After a deletion up to an offset reading begins there, and an earlier offset is out of range."""
    client.send(topic, [Sent(b"%d" % i) for i in range(10)])
    place = TopicPartition(topic, 0)

    admin.delete_records({place: 4})

    assert client.bounds(topic) == (4, 10)
    assert client.read(topic, 6, start=None, reset="earliest")[0].value == b"4"
    with pytest.raises(Exception, match=r"(?i)out.?of.?range"):
        client.read(topic, 1, start=0)


def test_an_idempotent_producer_keeps_its_order(client: Client, topic: str) -> None:
    """Thousands of records of one producer, many batches in flight, are stored once each and in order."""
    sent = [Sent(b"%d" % i, partition=i % 2) for i in range(4000)]

    client.send(topic, sent, is_idempotent=True)

    for partition in (0, 1):
        got = client.read(topic, 2000, partition=partition)
        assert [row.value for row in got] == [b"%d" % i for i in range(partition, 4000, 2)]


def test_nothing_is_created_by_asking(kafka: str, admin: KafkaAdminClient) -> None:
    """Producing to a topic that does not exist fails; the topic still does not exist after it."""
    producer = KafkaProducer(bootstrap_servers=kafka, max_block_ms=300, allow_auto_create_topics=False)
    with pytest.raises(KafkaError):
        producer.send("never-created", b"x").get(WAIT_S)
    producer.close()

    assert "never-created" not in admin.list_topics()


def test_an_out_of_range_read_has_its_own_error(kafka: str, either: Client, topic: str) -> None:
    """kafka-python names the partition and the offset, so that a spout can tell what was lost."""
    either.send(topic, [Sent(b"x")])
    consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="none")
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, 99)

    with pytest.raises(OffsetOutOfRangeError) as caught:
        consumer.poll(WAIT_S * 1000)

    assert caught.value.args[0] == {place: 99}
    consumer.close()
