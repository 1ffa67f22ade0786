"""Members of a group share its partitions, come, go and come back."""

import time

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S

pytestmark = pytest.mark.timeout(600)


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


@pytest.mark.parametrize("cooperative", [False, True], ids=["eager", "cooperative"])
def test_members_share_partitions_and_take_over(client: Client, topic: str, cooperative: bool) -> None:
    """Two members have one partition each; when one leaves, the other gets both."""
    first = client.member(f"group-of-{topic}", topic, cooperative=cooperative)
    first.wait_for(lambda member: member.partitions == {0, 1})

    second = client.member(f"group-of-{topic}", topic, cooperative=cooperative)
    second.wait_for(lambda member: len(member.partitions) == 1)
    first.wait_for(lambda member: len(member.partitions) == 1)
    assert first.partitions | second.partitions == {0, 1}
    second.close()

    first.wait_for(lambda member: member.partitions == {0, 1})
    first.close()


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
