"""What a reader of Kafka tells its spout, and a writer whoever sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Standing(NamedTuple):
    """Where one of the task's partitions stands."""

    partition: str
    """Identity: `<topic>:<topic id>/<number>`, without the id if the broker has none."""
    topic: str
    number: int
    committed: int | None
    """The group's committed offset, None if it never committed."""
    beginning: int
    log_end: int
    since: int | None = None
    """The first offset of the time that the reader was asked for, the log end if there is none; None: it was not."""


class Assigned(NamedTuple):
    """The reader has these partitions for this task, perhaps none, besides those that it told of before. Nothing of
    them is fetched before `start`."""

    standings: tuple[Standing, ...]
    partition_count: int
    """Partitions of all tasks, over all topics."""
    counts: Mapping[str, int]
    """Topic -> how many partitions it has."""


class Fetched(NamedTuple):
    """Records of one partition, in order; columns of one length, empty when only the position or the log end moved."""

    partition: str
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    next_offset: int
    """The consumer's position: more than the last offset + 1 where offsets are missing (compaction, markers)."""
    log_end: int
    headers: Sequence[Sequence[tuple[str, bytes | None]]] = ()

    def piece(self, first: int, end: int) -> Fetched:
        """The records from `first` to before `end`; the position is behind them."""
        if first == 0 and end >= len(self.offsets):
            return self
        last = end >= len(self.offsets)
        return self._replace(
            offsets=self.offsets[first:end],
            timestamps_ms=self.timestamps_ms[first:end],
            keys=self.keys[first:end],
            values=self.values[first:end],
            headers=self.headers[first:end],
            next_offset=self.next_offset if last else self.offsets[end],
        )

    def at(self, indices: Sequence[int]) -> Fetched:
        """The records at these indices; the position is where it was."""

        def pick(column: Sequence[Any]) -> list[Any]:
            return [column[i] for i in indices if column]

        return self._replace(
            offsets=pick(self.offsets),
            timestamps_ms=pick(self.timestamps_ms),
            keys=pick(self.keys),
            values=pick(self.values),
            headers=pick(self.headers),
        )


class Committed(NamedTuple):
    """Kafka has taken the offsets (partition -> next offset to read)."""

    offsets: Mapping[str, int]


class Trouble(NamedTuple):
    """Kafka does not answer or refuses; the reader goes on trying unless `fatal`. `message` None: it is over."""

    message: str | None
    fatal: bool = False


class Unsent(NamedTuple):
    """Why a record is not in Kafka. `final`: the broker will never take it, for it is too large or the like."""

    reason: str
    final: bool = False


ReaderEvent = Assigned | Fetched | Committed | Trouble
