"""Topics are made, grown, described and deleted."""

import pytest
from kafka import KafkaAdminClient
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    TopicAlreadyExistsError,
)

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import wait_until

pytestmark = pytest.mark.timeout(60)


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
