"""The requests about the offsets that groups commit."""

from collections.abc import Callable
from typing import Any

from stormline.embedded.kafka.broker import Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.commits import Commit, Partition
from stormline.embedded.kafka.errors import Code, RefusedError, attempt
from stormline.embedded.kafka.group import Group
from stormline.embedded.kafka.group_requests import check_idle

Answer = dict[str, Any]
_LONGEST_METADATA = 4096  # characters; Kafka's offset.metadata.max.bytes
_NOT_COMMITTED = Commit(-1, -1, "")


async def offset_commit(broker: Broker, request: Any, header: Header) -> Answer:
    """Commit offsets; from a member, or from anyone while the group has no members."""
    member = (request.member_id, request.group_instance_id, request.generation_id_or_member_epoch)

    def commit(commits: dict[Partition, Commit]) -> None:
        broker.stored(broker.commits.commit, request.group_id, commits, code=Code.COORDINATOR_NOT_AVAILABLE)

    return checked_commits(broker, request, member, commit)


def checked_commits(
    broker: Broker, request: Any, member: tuple[str, str | None, int], keep: Callable[[dict[Partition, Commit]], None]
) -> Answer:
    """Answer a request that commits offsets: all that are valid are kept at once."""
    commits = {}

    def check(topic: str, row: Any) -> Answer:
        broker.catalog.log(topic, row.partition_index)
        metadata = row.committed_metadata or ""
        if len(metadata) > _LONGEST_METADATA:
            raise RefusedError(Code.OFFSET_METADATA_TOO_LARGE, f"metadata has at most {_LONGEST_METADATA} characters")
        commits[topic, row.partition_index] = Commit(row.committed_offset, row.committed_leader_epoch, metadata)
        return {}

    topics = [
        {"name": topic.name, "partitions": [
            attempt({"partition_index": row.partition_index}, check, topic.name, row)
            for row in topic.partitions
        ]} for topic in request.topics
    ]  # fmt: skip
    try:
        if not request.group_id:
            raise RefusedError(Code.INVALID_GROUP_ID, "a commit needs a group")
        broker.groups.get(request.group_id, Group()).check_commit(*member)
        if commits:
            keep(commits)
    except RefusedError as error:
        for topic in topics:
            topic["partitions"] = [row | error.answer for row in topic["partitions"]]
    return {"topics": topics}


async def offset_fetch(broker: Broker, request: Any, header: Header) -> Answer:
    """The committed offsets of one group, or from version 8 on of several."""
    stable = header.version >= 7 and request.require_stable
    if header.version < 8:
        return {"topics": _committed(broker, request.group_id, request.topics, stable=stable)}
    return {"groups": [
        {"group_id": row.group_id, "topics": _committed(broker, row.group_id, row.topics, stable=stable)}
        for row in request.groups
    ]}  # fmt: skip


def _committed(broker: Broker, group_id: str, topics: Any, *, stable: bool) -> list[Answer]:
    """What the group has committed for these partitions (None: for all); offset -1 where nothing is.

    `stable`: an error where an open transaction may change it.
    """
    unstable = broker.coordinator.unstable(group_id) if stable else set()
    held = broker.commits.groups.get(group_id, {})
    if topics is None:
        names = sorted({name for name, _ in held})
        asked = [(name, [index for topic, index in held if topic == name]) for name in names]
    else:
        asked = [(row.name, row.partition_indexes) for row in topics]

    def committed(name: str, index: int) -> Commit:
        return _NOT_COMMITTED if (name, index) in unstable else held.get((name, index), _NOT_COMMITTED)

    return [
        {"name": name, "partitions": [
            {
                "partition_index": index,
                "committed_offset": commit.offset,
                "committed_leader_epoch": commit.leader_epoch,
                "metadata": commit.metadata,
                "error_code": Code.UNSTABLE_OFFSET_COMMIT if (name, index) in unstable else Code.NONE,
            }
            for index, commit in ((index, committed(name, index)) for index in indexes)
        ]}
        for name, indexes in asked
    ]  # fmt: skip


async def offset_delete(broker: Broker, request: Any, header: Header) -> Answer:
    """Forget committed offsets of a group that has no members."""
    check_idle(broker, request.group_id)
    partitions = [(topic.name, row.partition_index) for topic in request.topics for row in topic.partitions]
    broker.stored(broker.commits.forget, request.group_id, partitions, code=Code.COORDINATOR_NOT_AVAILABLE)
    return {"topics": [
        {"name": topic.name, "partitions": [{"partition_index": row.partition_index} for row in topic.partitions]}
        for topic in request.topics
    ]}  # fmt: skip
