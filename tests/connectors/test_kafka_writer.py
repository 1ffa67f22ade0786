"""The writer against the development broker, with each client."""

import functools
import os

import pytest
from kafka_connector_parts import Broker, Inbox, broker_fixture, records_of, topic_fixture

from stormline.connectors import kafka_writer
from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.kafka import ensure_topic
from stormline.connectors.kafka_writer import KafkaWriter

broker, topic = broker_fixture, topic_fixture


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture(params=CLIENTS)
def client(request):
    return request.param


@pytest.fixture
def writer(broker, inbox, client):
    writer = KafkaWriter(Brokers(broker.address, client), create=True, post=inbox.post)
    yield writer
    writer.close()


def test_done_is_called_once_the_broker_has_the_record(broker, topic, writer, inbox):
    """Key, value and headers arrive as they were given; a topic that did not exist has one partition."""
    headers = [("reason", b"broken"), ("offset", b"7")]
    writer.send(topic, key=b"k", value=b"v", headers=headers, done=inbox.events.append)
    writer.send(topic, key=None, value=b"w", headers=[], done=inbox.events.append)
    inbox.until(lambda: len(inbox.events) == 2)
    assert inbox.events == [None, None]
    [records] = records_of(broker, topic, 1).values()
    assert [(r.key, r.value, r.headers) for r in records] == [(b"k", b"v", headers), (None, b"w", [])]
    assert ensure_topic(broker.brokers, topic, 5) == 1


def test_a_record_kafka_refuses_is_answered_with_topic_and_reason(topic, writer, inbox):
    """One that is too large does not disturb the next."""
    writer.send(topic, key=None, value=bytes(2_000_000), headers=[], done=inbox.events.append)
    writer.send(topic, key=None, value=b"small", headers=[], done=inbox.events.append)
    inbox.until(lambda: len(inbox.events) == 2)
    large, small = inbox.events
    assert large.reason.startswith(f"topic {topic}: ")
    assert "TOO_LARGE" in large.reason or "TooLarge" in large.reason
    assert large.final
    assert small is None


@pytest.mark.parametrize("first", [0, 3, 19])
def test_what_the_broker_refuses_spoils_no_other_record(broker, topic, writer, inbox, first):
    """A topic may take less than the client would send: that record alone is refused for good, those around it and
    those after it arrive."""
    ensure_topic(broker.brokers, topic, 1, configs={"max.message.bytes": "1000"})
    answers = {}
    values = [b"%d" % n if n != first else os.urandom(5_000) for n in range(20)]
    for n, value in enumerate(values):
        writer.send(topic, key=None, value=value, headers=[], done=functools.partial(answers.__setitem__, n))
    inbox.until(lambda: len(answers) == 20)
    writer.send(topic, key=None, value=b"after", headers=[], done=functools.partial(answers.__setitem__, 20))
    inbox.until(lambda: len(answers) == 21)
    refused = answers.pop(first)
    assert refused.final
    assert "MSG_SIZE_TOO_LARGE" in refused.reason or "MessageSizeTooLargeError" in refused.reason
    assert set(answers.values()) == {None}
    [records] = records_of(broker, topic, 1).values()
    assert sorted(record.value for record in records) == sorted([*(v for v in values if len(v) < 9), b"after"])


def test_a_topic_name_that_cannot_be_is_answered(writer, inbox):
    """Nothing is sent, and the reason names it."""
    writer.send("not a topic!", key=None, value=b"v", headers=[], done=inbox.events.append)
    inbox.until(lambda: bool(inbox.events))
    assert inbox.events[0].reason.startswith("topic not a topic!: ")
    assert not inbox.events[0].final


def test_closing_waits_for_what_was_sent(broker, topic, inbox, client):
    """Every record sent before `close` is in the log when it returns."""
    writer = KafkaWriter(Brokers(broker.address, client), create=True, post=inbox.post)
    for number in range(500):
        writer.send(topic, key=None, value=b"%d" % number, headers=[], done=inbox.events.append)
    writer.close()
    assert inbox.waiting == 500
    [records] = records_of(broker, topic, 1).values()
    assert [int(record.value) for record in records] == list(range(500))
    inbox.until(lambda: len(inbox.events) == 500)
    assert set(inbox.events) == {None}


def test_a_writer_that_was_never_used_needs_no_kafka(inbox, client):
    """No connection is made before the first record."""
    writer = KafkaWriter(Brokers("127.0.0.1:1", client), create=True, post=inbox.post)
    writer.close()
    assert inbox.waiting == 0


def test_a_topic_that_is_not_to_be_created_is_waited_for(broker, topic, inbox, client):
    """The answer says that it does not exist and what to do; once it does, what is sent again arrives."""
    writer = KafkaWriter(Brokers(broker.address, client), create=False, post=inbox.post)
    sent = functools.partial(writer.send, topic, key=None, value=b"v", headers=[], done=inbox.events.append)
    sent()
    inbox.until(lambda: len(inbox.events) == 1)
    assert f"topic {topic}: it does not exist on Kafka at {broker.address}; create it" in inbox.events[0].reason
    assert f'"topics": {{"{topic}": {{"partitions": 1}}}}' in inbox.events[0].reason
    assert not inbox.events[0].final
    ensure_topic(broker.brokers, topic, 2)

    def arrived():
        if inbox.events[-1] is not None and inbox.waiting == 0:
            sent()
        return inbox.events[-1] is None

    inbox.until(arrived)
    writer.close()
    assert sum(map(len, records_of(broker, topic, 2).values())) == 1


def test_a_broker_that_was_away_gets_what_was_sent_meanwhile(request, tmp_path, topic, inbox, monkeypatch, client):
    """What it does not confirm in time is answered as not sent; sent again when it is back, it arrives."""
    monkeypatch.setattr(kafka_writer, "DELIVERY_MS", 10_500)  # kafka-python takes no less
    broker = Broker(tmp_path)
    request.addfinalizer(broker.kill)
    writer = KafkaWriter(Brokers(broker.address, client), create=True, post=inbox.post)
    send = functools.partial(writer.send, topic, key=None, headers=[])
    send(value=b"before", done=inbox.events.append)
    inbox.until(lambda: inbox.events == [None])
    broker.kill()
    send(value=b"during", done=inbox.events.append)
    inbox.until(lambda: len(inbox.events) == 2)
    assert inbox.events[1] is not None
    assert not inbox.events[1].final
    broker.start()

    def again(unsent):
        inbox.events.append(unsent)
        if unsent is not None:
            send(value=b"during", done=again)

    again(inbox.events[1])
    inbox.until(lambda: inbox.events[-1] is None)
    writer.close()
    [records] = records_of(broker, topic, 1).values()
    assert [record.value for record in records] == [b"before", b"during"]
