"""A member of a consumer group request by request, where who asks what when is the point."""

from typing import Any

from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_wire import Wire


class GroupMember:
    """One that can be one of several in a thread: `join` sends, `joined` waits for the answer."""

    def __init__(self, wire: Wire, group: str, *, instance: str | None = None, session_ms: int = 6000) -> None:
        self.wire = wire
        self.group = group
        self.instance = instance
        self.session_ms = session_ms
        self.id = ""
        self.generation = -1
        # The coordinator may still be loading, or its topic be made.
        wait_until(lambda: wire.ask("FindCoordinator", 3, key=group, key_type=0).error_code == 0)
        wait_until(lambda: self.heartbeat() not in (14, 15, 16))

    def join(self, *, protocols: tuple[str, ...] = ("range",), kind: str = "consumer") -> Any:
        """The answer, or that with the id if one must be taken first (then asked again)."""
        rows = [{"name": name, "metadata": name.encode()} for name in protocols]
        while True:
            answer = self.wire.ask(
                "JoinGroup", 7, group_id=self.group, session_timeout_ms=self.session_ms, rebalance_timeout_ms=5000,
                member_id=self.id, group_instance_id=self.instance, protocol_type=kind, protocols=rows,
            )  # fmt: skip
            if answer.error_code != 79:  # MEMBER_ID_REQUIRED
                break
            self.id = answer.member_id
        if answer.error_code == 0:
            self.id, self.generation = answer.member_id, answer.generation_id
        return answer

    @property
    def _member(self) -> dict[str, Any]:
        named = {"group_id": self.group, "generation_id": self.generation, "member_id": self.id}
        return named | {"group_instance_id": self.instance}

    def sync(self, assignments: dict[str, bytes] | None = None) -> Any:
        rows = [{"member_id": name, "assignment": content} for name, content in (assignments or {}).items()]
        return self.wire.ask(
            "SyncGroup", 5, **self._member, protocol_type="consumer", protocol_name="range", assignments=rows
        )

    def heartbeat(self) -> int:
        return int(self.wire.ask("Heartbeat", 3, **self._member).error_code)

    def leave(self) -> int:
        row = {"member_id": self.id, "group_instance_id": self.instance}
        answer = self.wire.ask("LeaveGroup", 4, group_id=self.group, members=[row])
        return int(answer.error_code or answer.members[0].error_code)

    def commit(self, topic: str, offset: int) -> int:
        row = {"partition_index": 0, "committed_offset": offset, "committed_leader_epoch": -1, "committed_metadata": ""}
        answer = self.wire.ask(
            "OffsetCommit", 7, group_id=self.group, generation_id_or_member_epoch=self.generation, member_id=self.id,
            group_instance_id=self.instance, topics=[{"name": topic, "partitions": [row]}],
        )  # fmt: skip
        return int(answer.topics[0].partitions[0].error_code)
