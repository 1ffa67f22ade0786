"""Where one partition stands: what was read, what is not acked yet, and what that says about offsets and event time.

The frontier is the first offset not yet acked; only it may be committed. Gaps between offsets are legal (compaction,
transaction markers), so nothing here counts offsets.
"""

from __future__ import annotations

from collections.abc import Sequence


class Frontier:
    """One partition of a spout task. Batches are known by a number that the caller chooses."""

    def __init__(self, start: int) -> None:
        self.position = start
        """The next offset to read."""
        self.log_end = start
        self.end: int | None = None
        """Where a bounded input ends, once that is known."""
        self.highest_ms: int | None = None
        """The highest event time read."""
        self._unacked: dict[int, tuple[int, int | None]] = {}
        self._latest = start
        self._in_order = True
        """What is not acked stands in the order of its offsets."""

    def read(self, batch: int, first_offset: int, earliest_ms: int | None, latest_ms: int | None) -> None:
        """A batch left for the topology: its first offset and the range of its event times (None: it has none)."""
        if first_offset < self._latest:  # a broken record of the same fetch stands before it
            self._in_order = False
        self._latest = first_offset
        self._unacked[batch] = (first_offset, earliest_ms)
        if latest_ms is not None and (self.highest_ms is None or latest_ms > self.highest_ms):
            self.highest_ms = latest_ms

    def moved(self, next_offset: int, log_end: int) -> None:
        """Everything below `next_offset` was handed to `read` or does not exist."""
        self.position = max(self.position, next_offset)
        self.log_end = max(self.log_end, log_end, self.position)

    def split(self, batch: int, parts: Sequence[tuple[int, int, int | None]]) -> None:
        """The batch goes on as several: (number, first offset, earliest event time or None)."""
        del self._unacked[batch]
        self._in_order = False
        for number, first_offset, earliest_ms in parts:
            self._unacked[number] = (first_offset, earliest_ms)

    def acked(self, batch: int) -> None:
        """The batch is durable. Unknown numbers (acks of an earlier life) are ignored."""
        self._unacked.pop(batch, None)

    @property
    def offset(self) -> int:
        """The first offset not yet acked."""
        oldest = self.oldest
        return self.position if oldest is None else self._unacked[oldest][0]

    @property
    def oldest(self) -> int | None:
        """The batch that holds the frontier."""
        if not self._unacked:
            self._in_order = True
            return None
        if self._in_order:  # asked for each batch; all but a few partitions have never had one cut
            return next(iter(self._unacked))
        return min(self._unacked, key=lambda batch: self._unacked[batch][0])

    @property
    def unacked(self) -> int:
        """Batches on their way."""
        return len(self._unacked)

    @property
    def caught_up(self) -> bool:
        """All there is was read and acked."""
        return not self._unacked and self.position >= self.log_end

    @property
    def ended(self) -> bool:
        """A bounded input was read to its end and all of it is acked."""
        return self.end is not None and not self._unacked and self.position >= self.end

    def watermark_ms(self, out_of_order_ms: int) -> int | None:
        """No record below this time is unflushed, unless it lies more than the bound behind its predecessors (S4)."""
        if self.highest_ms is None:
            return None
        waiting = [earliest for _, earliest in self._unacked.values() if earliest is not None]
        return min([self.highest_ms - out_of_order_ms, *waiting])
