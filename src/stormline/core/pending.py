"""What of each partition is on its way, against what a spout task may hold (S2).

Half of each limit is dealt out evenly, so that a partition whose records are not acked leaves the others theirs; the
other half is for whoever needs it.
"""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """How far a spout task may run ahead, and when a silent partition stops holding windows open."""

    out_of_order_ms: int = 0
    """How far behind the newest event time of its partition a record may be without being late."""
    max_pending: int = 120_000
    """Records fetched and not yet acked, over all partitions of the task."""
    span: int = 100_000
    """Offsets between a partition's frontier and its position: one stuck record must not let the rest run away."""
    idle_after_ms: int | None = None
    """A caught-up partition without news for so long is left out of the watermark; None: never."""
    max_pending_bytes: int = 128 << 20
    """Bytes of the values of such records."""


class Pending:
    """Records, and bytes of their values as they came, that are fetched and not yet acked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = (limits.max_pending, limits.max_pending_bytes)
        self._used: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def assign(self, partition: str) -> None:
        """One more among which the limits are shared."""
        for used in self._used:
            used[partition] = 0

    def add(self, partition: str, records: int, size: int) -> None:
        """Fetched: so many more; acked: fewer, with negative numbers."""
        of_records, of_bytes = self._used
        of_records[partition] += records
        of_bytes[partition] += size

    def full(self) -> frozenset[str]:
        """The partitions of which nothing more may be fetched for now."""
        found: set[str] = set()
        for limit, used in zip(self._limits, self._used, strict=True):
            total = sum(used.values())
            if total >= limit:
                return frozenset(used)
            if total * 2 < limit:
                continue
            share = limit / (2 * len(used))
            if 2 * sum(max(0, each - share) for each in used.values()) >= limit:
                found.update(partition for partition, each in used.items() if each >= share)
        return frozenset(found)
