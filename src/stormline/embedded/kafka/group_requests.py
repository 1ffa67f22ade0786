"""The requests about consumer groups: membership, and the offsets they commit."""

from collections.abc import Callable
from typing import Any

from stormline.embedded.kafka.broker import HOST, NODE_ID, Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.commits import Commit, Partition
from stormline.embedded.kafka.errors import Code, RefusedError, attempt
from stormline.embedded.kafka.group import Group, State

Answer = dict[str, Any]
_COORDINATED = (0, 1)  # groups, transactional ids
_LONGEST_METADATA = 4096  # characters; Kafka's offset.metadata.max.bytes
_NOT_COMMITTED = Commit(-1, -1, "")


async def find_coordinator(broker: Broker, request: Any, header: Header) -> Answer:
    """This broker coordinates every group and every transactional id."""
    place: Answer = {"node_id": NODE_ID, "host": HOST, "port": broker.port}
    if request.key_type not in _COORDINATED:
        reason = "this development broker has no share groups"
        place = {"node_id": -1, "port": -1, **RefusedError(Code.INVALID_REQUEST, reason).answer}
    return (
        place if header.version < 4 else {"coordinators": [{**place, "key": key} for key in request.coordinator_keys]}
    )


async def join_group(broker: Broker, request: Any, header: Header) -> Answer:
    """Join, and wait for the others."""
    if not request.group_id:
        raise RefusedError(Code.INVALID_GROUP_ID, "a group needs a name")
    return await broker.groups.setdefault(request.group_id, Group()).join(request, header.version, header.client_id)


async def sync_group(broker: Broker, request: Any, header: Header) -> Answer:
    """Give (the leader) or get the assignment."""
    return await _group(broker, request.group_id).sync(request)


async def heartbeat(broker: Broker, request: Any, header: Header) -> Answer:
    """Stay a member."""
    _group(broker, request.group_id).heartbeat(request)
    return {}


async def leave_group(broker: Broker, request: Any, header: Header) -> Answer:
    """Stop being a member; from version 3 on for several members at once."""
    if header.version < 3:
        return _leave(broker, request.group_id, request.member_id, None)
    return {"members": [
        attempt({"member_id": row.member_id, "group_instance_id": row.group_instance_id},
                _leave, broker, request.group_id, row.member_id, row.group_instance_id)
        for row in request.members
    ]}  # fmt: skip


def _leave(broker: Broker, group_id: str, member_id: str, instance_id: str | None) -> Answer:
    _group(broker, group_id).leave(member_id, instance_id)
    return {}


def _group(broker: Broker, group_id: str) -> Group:
    if group_id not in broker.groups:
        raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"group {group_id!r} has no members")
    return broker.groups[group_id]


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
    return [
        {"name": name, "partitions": [
            {
                "partition_index": index,
                "committed_offset": commit.offset,
                "committed_leader_epoch": commit.leader_epoch,
                "metadata": commit.metadata,
                "error_code": Code.UNSTABLE_OFFSET_COMMIT if (name, index) in unstable else Code.NONE,
            }
            for index, commit in ((index, held.get((name, index), _NOT_COMMITTED)) for index in indexes)
        ]}
        for name, indexes in asked
    ]  # fmt: skip


async def offset_delete(broker: Broker, request: Any, header: Header) -> Answer:
    """Forget committed offsets of a group that has no members."""
    _check_idle(broker, request.group_id)
    partitions = [(topic.name, row.partition_index) for topic in request.topics for row in topic.partitions]
    broker.stored(broker.commits.forget, request.group_id, partitions, code=Code.COORDINATOR_NOT_AVAILABLE)
    return {"topics": [
        {"name": topic.name, "partitions": [{"partition_index": row.partition_index} for row in topic.partitions]}
        for topic in request.topics
    ]}  # fmt: skip


async def delete_groups(broker: Broker, request: Any, header: Header) -> Answer:
    """Forget groups that have no members, with what they have committed."""
    return {"results": [attempt({"group_id": group_id}, _forget, broker, group_id)
                        for group_id in request.groups_names]}  # fmt: skip


def _forget(broker: Broker, group_id: str) -> Answer:
    _check_idle(broker, group_id)
    broker.stored(broker.commits.forget_group, group_id, code=Code.COORDINATOR_NOT_AVAILABLE)
    broker.groups.pop(group_id, None)
    return {}


def _check_idle(broker: Broker, group_id: str) -> None:
    if group_id not in broker.groups and group_id not in broker.commits.groups:
        raise RefusedError(Code.GROUP_ID_NOT_FOUND, f"there is no group {group_id!r}")
    if group_id in broker.groups and broker.groups[group_id].members:
        raise RefusedError(Code.NON_EMPTY_GROUP, f"group {group_id!r} has members")


async def list_groups(broker: Broker, request: Any, header: Header) -> Answer:
    """All groups that have members or have committed something."""
    names = sorted(broker.groups.keys() | broker.commits.groups.keys())
    groups = [(name, broker.groups.get(name, Group())) for name in names]
    wanted = request.states_filter or [state.value for state in State]
    return {"groups": [
        {"group_id": name, "protocol_type": group.protocol_type, "group_state": group.state.value}
        for name, group in groups if group.state.value in wanted
    ]}  # fmt: skip


async def describe_groups(broker: Broker, request: Any, header: Header) -> Answer:
    """State and members of groups; a group that never was is called Dead."""
    return {"groups": [_described(broker, group_id) for group_id in request.groups]}


def _described(broker: Broker, group_id: str) -> Answer:
    if group_id not in broker.groups and group_id not in broker.commits.groups:
        return {"group_id": group_id, "group_state": "Dead"}
    group = broker.groups.get(group_id, Group())
    is_stable = group.state is State.STABLE
    return {
        "group_id": group_id,
        "group_state": group.state.value,
        "protocol_type": group.protocol_type,
        "protocol_data": group.protocol if is_stable else "",
        "members": [
            {
                "member_id": member.id,
                "group_instance_id": member.instance_id,
                "client_id": member.client_id,
                "client_host": f"/{HOST}",
                "member_metadata": member.protocols[group.protocol] if is_stable else b"",
                "member_assignment": member.assignment,
            }
            for member in group.members.values()
        ],
    }
