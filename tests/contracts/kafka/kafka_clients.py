"""One small face for the two Kafka clients, so that every contract is asked of both."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypedDict, Unpack

from tests.contracts.kafka.kafka_member import Member


class Sent(NamedTuple):
    """A record to produce. `timestamp` in ms."""

    value: bytes
    key: bytes | None = None
    timestamp: int = 1
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class Got(NamedTuple):
    """A record as it was consumed."""

    offset: int
    value: bytes
    key: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


class How(TypedDict, total=False):
    """How to produce: "none" or a codec's name; 0, 1 or -1; whether as an idempotent producer. Not so by default."""

    codec: str
    acks: int
    is_idempotent: bool


def isolation(committed_only: bool) -> str:
    """The value of a consumer's isolation level."""
    return "read_committed" if committed_only else "read_uncommitted"


class Client(Protocol):
    """What the contracts need of a client; errors are the client's own exceptions."""

    def send(self, topic: str, records: Sequence[Sent], **how: Unpack[How]) -> list[int]:
        """Produce and give the offsets. Batches as large as the client makes them."""

    def read(
        self,
        topic: str,
        count: int,
        *,
        start: int | None = 0,
        partition: int = 0,
        reset: str = "none",
        committed_only: bool = False,
    ) -> list[Got]:
        """The first `count` records from `start` on (None: from where the reset policy says)."""

    def transact(self, topic: str, values: Sequence[bytes], name: str, *, commit: bool) -> None:
        """Write into partition 0 in a transaction, flush, and end it."""

    def bounds(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """The earliest and the next offset."""

    def offsets_at(self, topic: str, times: Sequence[int]) -> list[int | None]:
        """For each time the first offset whose record is not older; None if there is none."""

    def commit(self, group: str, topic: str, offset: int, metadata: str) -> None: ...

    def committed(self, group: str, topic: str) -> tuple[int, str] | None: ...

    def member(self, group: str, topic: str, *, cooperative: bool = False) -> Member:
        """A consumer with a group subscription, polling in a thread of its own."""
