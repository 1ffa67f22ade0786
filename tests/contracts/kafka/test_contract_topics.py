"""Topics are made, grown, described and deleted."""

import uuid

import pytest
from kafka import KafkaAdminClient
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    TopicAlreadyExistsError,
)

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S, wait_until
from tests.contracts.kafka.kafka_wire import Wire

pytestmark = pytest.mark.timeout(600)
NO_ID = uuid.UUID(int=0)
UNKNOWN_TOPIC, INVALID_TOPIC, UNKNOWN_TOPIC_ID = 3, 17, 100


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
    wait_until(lambda: topic not in admin.list_topics())

    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    assert either.bounds(topic) == (0, 0)
    wait_until(lambda: either.committed(f"group-of-{topic}", topic) is None)
    assert admin.describe_topics([topic])[0]["topic_id"] not in (None, old_id)


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


def test_a_topic_has_an_id_of_its_own(wire: Wire, admin: KafkaAdminClient, topic: str) -> None:
    """By which it can be asked for and deleted; made anew under its name, it is another one."""

    def found(**row: object) -> tuple[int, str | None]:
        asked = [{"name": None, "topic_id": NO_ID, **row}]
        (answer,) = wire.ask("Metadata", 12, topics=asked, allow_auto_topic_creation=False).topics
        return answer.error_code, answer.name

    old = admin.describe_topics([topic])[0]["topic_id"]
    assert found(topic_id=uuid.UUID(str(old))) == (0, topic)

    answer = wire.ask("DeleteTopics", 6, topics=[{"name": None, "topic_id": old}], timeout_ms=5000)
    assert [row.error_code for row in answer.responses] == [0]
    wait_until(lambda: topic not in admin.list_topics())
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})

    wait_until(lambda: found(name=topic) == (0, topic))
    assert found(topic_id=old)[0] == UNKNOWN_TOPIC_ID
    assert admin.describe_topics([topic])[0]["topic_id"] != old


def test_an_unknown_topic_is_not_made_by_asking(wire: Wire, admin: KafkaAdminClient, topic: str) -> None:
    """Also where the client says that it may be."""
    asked = [{"name": f"{topic}-never", "topic_id": NO_ID}, {"name": "no/slash", "topic_id": NO_ID}]

    answer = wire.ask("Metadata", 9, topics=asked, allow_auto_topic_creation=True)

    assert {row.name: row.error_code for row in answer.topics} == {
        f"{topic}-never": UNKNOWN_TOPIC,
        "no/slash": INVALID_TOPIC,
    }
    assert f"{topic}-never" not in admin.list_topics()


def test_what_is_not_there_cannot_be_deleted_or_grown(wire: Wire, topic: str) -> None:
    """Each topic of a request is answered for itself."""
    never = f"{topic}-never"
    grown = wire.ask(
        "CreatePartitions", 3, timeout_ms=5000, validate_only=False,
        topics=[{"name": name, "count": 3, "assignments": None} for name in (topic, never)],
    )  # fmt: skip
    deleted = wire.ask(
        "DeleteTopics", 6, timeout_ms=5000, topics=[{"name": name, "topic_id": NO_ID} for name in (topic, never)]
    )

    assert {row.name: row.error_code for row in grown.results} == {topic: 0, never: UNKNOWN_TOPIC}
    assert {row.name: row.error_code for row in deleted.responses} == {topic: 0, never: UNKNOWN_TOPIC}


def test_partitions_describe_themselves(wire: Wire, topic: str) -> None:
    """One replica each, which leads and is in sync."""
    asked = [{"name": topic, "topic_id": NO_ID}]
    answer = wire.ask("Metadata", 12, topics=asked, allow_auto_topic_creation=False)
    (node,) = (broker.node_id for broker in answer.brokers)

    rows = sorted(answer.topics[0].partitions, key=lambda row: row.partition_index)

    assert [(row.partition_index, row.leader_id, row.error_code) for row in rows] == [(0, node, 0), (1, node, 0)]
    assert [(row.replica_nodes, row.isr_nodes, row.offline_replicas) for row in rows] == [([node], [node], [])] * 2


def test_librdkafka_administers_too(kafka: str, topic: str) -> None:
    """Its admin client speaks other versions of the same requests."""
    from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka})
    name = f"{topic}-rd"
    admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "-1"})])[name].result(WAIT_S)
    wait_until(lambda: name in admin.list_topics().topics)
    admin.create_partitions([NewPartitions(name, 3)])[name].result(WAIT_S)
    wait_until(lambda: len(admin.list_topics(name).topics[name].partitions) == 3)
    admin.delete_topics([name])[name].result(WAIT_S)
    wait_until(lambda: name not in admin.list_topics().topics)
