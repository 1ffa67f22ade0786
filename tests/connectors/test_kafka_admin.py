"""The administrative calls of the command line."""

import logging
import socket
import uuid

import pytest
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka_connector_parts import broker_fixture, produce, records_of, topic_fixture

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import (
    ClientMaker,
    client_settings,
    delete_topic,
    ensure_topic,
    places,
    reset_group,
)
from stormline.connectors.kafka_clients import partition_name
from stormline.core.errors import ServerError

broker, topic = broker_fixture, topic_fixture


@pytest.fixture
def nobody():
    """An address where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_a_topic_is_created_once(broker, topic):
    """It has the partitions asked for; asking again changes nothing and tells how many there are."""
    assert ensure_topic(broker.brokers, topic, 3) == 3
    produce(broker, topic, 2, [b"v"])
    assert ensure_topic(broker.brokers, topic, 5) == 3
    assert [len(records) for records in records_of(broker, topic, 3).values()] == [0, 0, 1]


def test_a_deleted_topic_is_gone_and_can_be_made_anew(broker, topic):
    """Empty; and deleting what does not exist is no error."""
    ensure_topic(broker.brokers, topic, 1)
    produce(broker, topic, 0, [b"v"])
    delete_topic(broker.brokers, topic)
    delete_topic(broker.brokers, topic)
    assert ensure_topic(broker.brokers, topic, 2) == 2
    assert records_of(broker, topic, 2) == {0: [], 1: []}


def test_resetting_a_group_forgets_its_offsets_of_these_topics_only(broker, topic):
    """Other topics of the group and other groups keep theirs; an unknown group is no error."""
    other = f"{topic}-other"
    for name in (topic, other):
        ensure_topic(broker.brokers, name, 2)
    consumers = {
        group: KafkaConsumer(bootstrap_servers=broker.address, group_id=group, enable_auto_commit=False)
        for group in (f"{topic}-g", f"{topic}-h")
    }
    for consumer in consumers.values():
        consumer.commit(
            {TopicPartition(name, number): OffsetAndMetadata(7, "", -1) for name in (topic, other) for number in (0, 1)}
        )
    reset_group(broker.brokers, f"{topic}-g", [topic])
    reset_group(broker.brokers, f"{topic}-unknown", [topic])
    found = {
        (group[-1], name[len(topic) :]): consumer.committed(TopicPartition(name, 1))
        for group, consumer in consumers.items()
        for name in (topic, other)
    }
    for consumer in consumers.values():
        consumer.close()
    assert found == {("g", ""): None, ("g", "-other"): 7, ("h", ""): 7, ("h", "-other"): 7}


@pytest.mark.parametrize(
    "call",
    [
        lambda brokers: ensure_topic(brokers, "t", 1, timeout_ms=300),
        lambda brokers: delete_topic(brokers, "t", timeout_ms=300),
        lambda brokers: reset_group(brokers, "g", ["t"], timeout_ms=300),
    ],
)
def test_a_kafka_that_is_not_there_is_named(nobody, call, caplog):
    """The error says what was wanted and which address does not answer; kafka-python's own log stays silent."""
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ServerError, match=f"could not .* {nobody} does not answer") as caught,
    ):
        call(Brokers(nobody))
    assert caught.value.retriable
    assert caplog.records == []


def test_a_topic_name_that_cannot_be_is_an_error(broker):
    """With the reason of the broker."""
    with pytest.raises(ServerError, match="could not create topic a b"):
        ensure_topic(broker.brokers, "a b", 1)


def test_asking_for_a_topic_does_not_create_it():
    """Brokers may create topics that a client asks for by name; ours never lets them."""
    maker = ClientMaker()
    client = maker(**client_settings(Brokers("127.0.0.1:1")))
    assert client.cluster.metadata_request().allow_auto_topic_creation is False
    maker.close()


def test_the_identity_of_a_partition_changes_with_the_topic():
    """Written as Kafka's tools write topic ids; without the id where the broker has none."""
    assert partition_name("t", uuid.UUID(int=1), 3) == "t:AAAAAAAAAAAAAAAAAAAAAQ/3"
    assert partition_name("t", None, 3) == partition_name("t", uuid.UUID(int=0), 3) == "t/3"


def behind(brokers, topics):
    return sum(each.behind for each in places(brokers, "readers", topics))


def test_the_backlog_is_what_is_there_and_not_committed(broker, topic):
    """All of a group that has committed nothing; less by what is committed; none of a topic that does not exist."""
    ensure_topic(broker.brokers, topic, 2)
    produce(broker, topic, 0, [b"a", b"b", b"c"])
    produce(broker, topic, 1, [b"d"])
    assert behind(broker.brokers, [topic, "no-such-topic"]) == 4

    consumer = KafkaConsumer(bootstrap_servers=broker.address, group_id="readers", enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(2, "", -1)})
    consumer.close()
    assert behind(broker.brokers, [topic]) == 2
    assert behind(broker.brokers, ["no-such-topic"]) == 0
