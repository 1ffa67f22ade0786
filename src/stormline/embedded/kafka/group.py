"""One consumer group: who its members are, and how they come to share a generation (the classic group protocol).

    empty --join--> joining --all joined, or time is up--> syncing --leader's assignment--> stable
      ^                ^------------- join, leave, expiry ----------------------------------/
      '---- last member gone (from any state)

A member is alive while it waits for an answer to its join or sync; else until its session times out.
"""

import asyncio
import uuid
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from stormline.embedded.kafka.errors import Code, RefusedError

Answer = dict[str, Any]


class State(Enum):
    """A group's state by the name that DescribeGroups gives it."""

    EMPTY = "Empty"
    JOINING = "PreparingRebalance"
    SYNCING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass(slots=True)
class Member:
    """A consumer of the group. Times are in ms; `expires_at` is in seconds of the loop's clock."""

    id: str
    instance_id: str | None
    client_id: str
    session_timeout_ms: int = 0
    rebalance_timeout_ms: int = 0
    protocols: dict[str, bytes] = field(default_factory=dict)
    expires_at: float = 0.0
    assignment: bytes = b""
    joining: asyncio.Future[Answer] | None = None
    syncing: asyncio.Future[Answer] | None = None


class Group:
    """The members of one group id and their present generation."""

    def __init__(self) -> None:
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self._announced: set[str] = set()  # ids given out with MEMBER_ID_REQUIRED (KIP-394), not used yet
        self._timer: asyncio.TimerHandle | None = None
        self._join_ends_at = 0.0

    async def join(self, request: Any, version: int, client_id: str) -> Answer:
        """Take part in the next generation; answered when it begins. RefusedError, or the answer's own error code."""
        protocols = {protocol.name: bytes(protocol.metadata) for protocol in request.protocols}
        if not 0 < request.session_timeout_ms <= 1_800_000:
            raise RefusedError(Code.INVALID_SESSION_TIMEOUT, f"{request.session_timeout_ms} ms is no session time-out")
        others = [member for member in self.members.values() if member.id != request.member_id]
        if not protocols or not request.protocol_type:
            raise RefusedError(Code.INCONSISTENT_GROUP_PROTOCOL, "a member must name its protocols")
        if others and (
            request.protocol_type != self.protocol_type
            or not set(protocols).intersection(*(member.protocols for member in others))
        ):
            raise RefusedError(Code.INCONSISTENT_GROUP_PROTOCOL, "the member has no protocol in common with the group")
        instance_id = request.group_instance_id
        member_id = request.member_id
        if not member_id:
            member_id = f"{instance_id or client_id}-{uuid.uuid4()}"
            if instance_id is not None:
                for old in [member for member in others if member.instance_id == instance_id]:
                    self._remove(old, Code.FENCED_INSTANCE_ID)
                    if self.state is State.STABLE and old.protocols == protocols:
                        return self._replaced(old, replace(old, id=member_id, client_id=client_id))
            elif version >= 4:
                self._announced.add(member_id)
                return {"error_code": Code.MEMBER_ID_REQUIRED, "member_id": member_id}
        elif member_id not in self.members and member_id not in self._announced:
            self._check_instance(member_id, instance_id)
            raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"{member_id!r} is no member of this group")
        self._announced.discard(member_id)
        self.protocol_type = request.protocol_type
        member = self.members.get(member_id)
        is_unchanged = member is not None and member.protocols == protocols
        rebalance_timeout_ms = max(request.rebalance_timeout_ms, 1) if version >= 1 else request.session_timeout_ms
        if member is None:
            member = self.members[member_id] = Member(member_id, instance_id, client_id)
        member.protocols = protocols
        member.session_timeout_ms, member.rebalance_timeout_ms = request.session_timeout_ms, rebalance_timeout_ms
        self._touch(member)
        if is_unchanged and (
            self.state is State.SYNCING or (self.state is State.STABLE and member_id != self.leader)
        ):  # it has missed the answer
            return self._joined(member)
        if member.joining is None or member.joining.done():
            member.joining = asyncio.get_running_loop().create_future()
        waiting = member.joining
        self._rebalance()
        return await waiting

    def _replaced(self, old: Member, new: Member) -> Answer:
        """A static member is back as it was: it goes on with what it had, and nobody has to join again (KIP-345).

        It is told another leader than itself, or it would assign anew.
        """
        self.members[new.id] = new
        self._touch(new)
        led_by = self.leader
        if old.id == self.leader:
            self.leader = new.id
        return self._joined(new) | {"leader": led_by, "members": []}

    async def sync(self, request: Any) -> Answer:
        """The member's own assignment, as soon as the leader has given it."""
        member = self._member(request.member_id, request.group_instance_id, request.generation_id)
        if self.state is State.JOINING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "the group is joining again")
        if self.state is State.SYNCING:
            if member.id == self.leader:
                given = {row.member_id: bytes(row.assignment) for row in request.assignments}
                for each in self.members.values():
                    each.assignment = given.get(each.id, b"")
                self.state = State.STABLE
                for each in self.members.values():
                    _answer(each.syncing, self._synced(each))
                    self._touch(each)
            else:
                if member.syncing is None or member.syncing.done():
                    member.syncing = asyncio.get_running_loop().create_future()
                return await member.syncing
        return self._synced(member)

    def heartbeat(self, request: Any) -> None:
        """Keep the member alive; RefusedError tells it to join again."""
        self._member(request.member_id, request.group_instance_id, request.generation_id)
        if self.state is State.JOINING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "the group is joining again")

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """Remove a member; one with an instance id may be named by that alone."""
        if not member_id:
            member_id = next((each.id for each in self.members.values() if each.instance_id == instance_id), "")
        self._announced.discard(member_id)
        self._check_instance(member_id, instance_id)
        if member_id not in self.members:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"{member_id!r} is no member of this group")
        self._remove(self.members[member_id], Code.UNKNOWN_MEMBER_ID)
        self._rebalance()

    def check_commit(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """RefusedError if offsets may not be committed: by a stranger while there are members, or by an old one."""
        if generation < 0 and not self.members:
            return
        self._member(member_id, instance_id, generation)
        if self.state is State.SYNCING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "the group has a new generation")

    def _member(self, member_id: str, instance_id: str | None, generation: int) -> Member:
        """The living member of this generation."""
        self._check_instance(member_id, instance_id)
        member = self.members.get(member_id)
        if member is None:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"{member_id!r} is no member of this group")
        if generation != self.generation:
            raise RefusedError(
                Code.ILLEGAL_GENERATION, f"the group has generation {self.generation}, {generation} came"
            )
        self._touch(member)
        return member

    def _check_instance(self, member_id: str, instance_id: str | None) -> None:
        owners = (member.id for member in self.members.values() if member.instance_id == instance_id)
        if instance_id is not None and next(owners, member_id) != member_id:
            raise RefusedError(Code.FENCED_INSTANCE_ID, f"instance {instance_id!r} has joined again under another id")

    def _remove(self, member: Member, code: Code) -> None:
        del self.members[member.id]
        for waiting in (member.joining, member.syncing):
            _answer(waiting, {"error_code": code, "member_id": member.id})

    def _rebalance(self) -> None:
        """Have all members join (again), or begin the generation if they have."""
        if not self.members:
            self.state = State.EMPTY
            self.generation += 1
            return
        if self.state is not State.JOINING:
            self.state = State.JOINING
            slowest_ms = max(member.rebalance_timeout_ms for member in self.members.values())
            self._join_ends_at = asyncio.get_running_loop().time() + slowest_ms / 1000
            for member in self.members.values():
                _answer(member.syncing, {"error_code": Code.REBALANCE_IN_PROGRESS})
        if all(_waits(member.joining) for member in self.members.values()):
            self._begin()
        else:
            self._watch()

    def _begin(self) -> None:
        """A new generation of those who have joined."""
        self.generation += 1
        self.state = State.SYNCING
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        common = set.intersection(*(set(member.protocols) for member in self.members.values()))
        favourites = [next(name for name in member.protocols if name in common) for member in self.members.values()]
        self.protocol = max(favourites, key=favourites.count)
        for member in self.members.values():
            member.assignment = b""
            self._touch(member)
            _answer(member.joining, self._joined(member))
        self._watch()

    def _joined(self, member: Member) -> Answer:
        is_leader = member.id == self.leader
        rows = [
            {"member_id": each.id, "group_instance_id": each.instance_id, "metadata": each.protocols[self.protocol]}
            for each in self.members.values()
            if is_leader  # only the leader assigns
        ]
        return {
            "generation_id": self.generation,
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol,
            "leader": self.leader,
            "member_id": member.id,
            "members": rows,
        }

    def _synced(self, member: Member) -> Answer:
        return {
            "protocol_type": self.protocol_type,
            "protocol_name": self.protocol,
            "assignment": member.assignment,
        }

    def _touch(self, member: Member) -> None:
        member.expires_at = asyncio.get_running_loop().time() + member.session_timeout_ms / 1000
        self._watch()

    def _watch(self) -> None:
        """Wake at the first moment at which somebody may have to go; a later one is found when it is there."""
        moments = [member.expires_at for member in self.members.values()]
        if self.state is State.JOINING:
            moments.append(self._join_ends_at)
        if moments and (self._timer is None or self._timer.when() > min(moments)):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(min(moments), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        is_join_over = self.state is State.JOINING and self._join_ends_at <= now
        gone = [
            member
            for member in self.members.values()
            if not _waits(member.joining) and not _waits(member.syncing) and (is_join_over or member.expires_at <= now)
        ]
        for member in self.members.values():
            if member.expires_at <= now and member not in gone:
                member.expires_at = now + member.session_timeout_ms / 1000
        for member in gone:
            self._remove(member, Code.UNKNOWN_MEMBER_ID)
        if gone:
            self._rebalance()
        self._watch()


def _waits(future: asyncio.Future[Answer] | None) -> bool:
    return future is not None and not future.done()


def _answer(future: asyncio.Future[Answer] | None, answer: Answer) -> None:
    if future is not None and not future.done():
        future.set_result(answer)
