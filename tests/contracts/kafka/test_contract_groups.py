"""Offsets that groups commit, and what an operator sees of groups."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    KafkaError,
)

from tests.contracts.kafka.kafka_clients import Client

pytestmark = pytest.mark.timeout(600)


def test_commits_are_kept_with_their_metadata(client: Client, topic: str) -> None:
    """A group that is only a name keeps the offset and the note last committed; another group has none."""
    group = f"group-of-{topic}"
    assert client.committed(group, topic) is None

    client.commit(group, topic, 5, "first")
    client.commit(group, topic, 3, "then back")

    assert client.committed(group, topic) == (3, "then back")
    assert client.committed("another-group", topic) is None


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
