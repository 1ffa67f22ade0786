"""The requests about consumer groups: membership, and what an operator asks."""

from typing import Any

from stormline.embedded.kafka.broker import HOST, NODE_ID, Broker
from stormline.embedded.kafka.codec import Header
from stormline.embedded.kafka.errors import Code, RefusedError, attempt
from stormline.embedded.kafka.group import Group, State

Answer = dict[str, Any]
_COORDINATED = (0, 1)  # groups, transactional ids


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


async def delete_groups(broker: Broker, request: Any, header: Header) -> Answer:
    """Forget groups that have no members, with what they have committed."""
    return {"results": [attempt({"group_id": group_id}, _forget, broker, group_id)
                        for group_id in request.groups_names]}  # fmt: skip


def _forget(broker: Broker, group_id: str) -> Answer:
    check_idle(broker, group_id)
    broker.stored(broker.commits.forget_group, group_id, code=Code.COORDINATOR_NOT_AVAILABLE)
    broker.groups.pop(group_id, None)
    return {}


def check_idle(broker: Broker, group_id: str) -> None:
    """RefusedError unless the group exists and has no members."""
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
