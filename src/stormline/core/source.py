"""The rules of a spout task (S1 to S6): what may be fetched, what is emitted next, what a failure leads to, what may be
committed, and what is told to the keyed bolts.

Nothing is ever given up for a failure: Storm's fail carries no reason, so a batch that fails is emitted again for ever.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stormline.core.batch import Rows, pieces
from stormline.core.frontier import Frontier
from stormline.core.progress import Claim, Progress

FIRST_BACKOFF_MS = 100
LONGEST_BACKOFF_MS = 10_000
HALVED_FROM_FAILURE = 3
FETCH_BELOW = 3
"""A partition with fewer batches than this waiting to be emitted is fetched from."""


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


class Emission(NamedTuple):
    """A batch to emit under this message id; `failures` so far."""

    message_id: str
    partition: str
    records: Rows
    failures: int


class _Batch(NamedTuple):
    partition: str
    records: Rows
    failures: int
    emission: int
    """Number of its latest emission, 0 before the first."""


class Source:
    """One spout task. `incarnation` tells its message ids from those of earlier lives."""

    def __init__(self, spout: str, task: int, incarnation: str, limits: Limits) -> None:
        self.spout = spout
        self.task = task
        self.incarnation = incarnation
        self.limits = limits
        self.partitions: dict[str, Frontier] = {}
        self.partition_count = 0
        self.read = self.acked = self.replayed = self.failed = 0
        self._batches: dict[int, _Batch] = {}
        self._fresh: dict[str, deque[int]] = {}
        self._retries: dict[int, int] = {}
        self._news_ms: dict[str, int] = {}
        self._pending = 0
        self._numbers = self._emissions = self._acked_emission = self._sequence = 0

    def assign(self, partition: str, start: int, log_end: int, now_ms: int) -> None:
        """Read this partition from `start` on (S1)."""
        self.partitions[partition] = Frontier(start)
        self.partitions[partition].moved(start, log_end)
        self._fresh[partition] = deque()
        self._news_ms[partition] = now_ms

    def wanted(self) -> frozenset[str]:
        """The partitions that may be fetched from (S2)."""
        if self._pending >= self.limits.max_pending:
            return frozenset()
        return frozenset(
            partition
            for partition, frontier in self.partitions.items()
            if len(self._fresh[partition]) < FETCH_BELOW and frontier.position - frontier.offset < self.limits.span
        )

    def take(
        self, partition: str, records: Rows, broken: Sequence[int], next_offset: int, log_end: int, now_ms: int
    ) -> list[int]:
        """Records were fetched; `broken` are the offsets that hold none that could be emitted.

        Returns one number for each broken offset: the frontier does not pass it before `settle(number)`.
        """
        frontier = self.partitions[partition]
        if next_offset > frontier.position:
            self._news_ms[partition] = now_ms
        numbers = [self._number() for _ in broken]
        for number, offset in zip(numbers, broken, strict=True):
            frontier.read(number, offset, None, None)
        for piece in map(records.piece, pieces(records.offsets, broken)):
            number = self._number()
            frontier.read(number, piece.offsets[0], min(piece.times_ms), max(piece.times_ms))
            self._batches[number] = _Batch(partition, piece, 0, 0)
            self._fresh[partition].append(number)
        self._pending += len(records.offsets)
        self.read += len(records.offsets) + len(broken)
        frontier.moved(next_offset, log_end)
        return numbers

    def settle(self, partition: str, number: int) -> None:
        """The record behind this number of `take` is safe in the dead-letter topic."""
        self.partitions[partition].acked(number)

    def bound(self, ends: Mapping[str, int]) -> None:
        """The input ends here: partition -> end offset."""
        for partition, end in ends.items():
            if partition in self.partitions:
                self.partitions[partition].end = end

    def next(self, now_ms: int) -> Emission | None:
        """The batch to emit now, if any: a failed one whose backoff is over, else the oldest in event time."""
        due = [number for number, due_ms in self._retries.items() if due_ms <= now_ms]
        if due:
            number = due[0]
            del self._retries[number]
            number = self._halve(number)
        else:
            heads = [(self._batches[f[0]].records.times_ms[0], p) for p, f in self._fresh.items() if f]
            if not heads:
                return None
            number = self._fresh[min(heads)[1]].popleft()
        self._emissions += 1
        batch = self._batches[number] = self._batches[number]._replace(emission=self._emissions)
        if batch.failures:
            self.replayed += len(batch.records.offsets)
        return Emission(f"{self.incarnation}:{number}", batch.partition, batch.records, batch.failures)

    @property
    def due_ms(self) -> int | None:
        """When the next failed batch is to be emitted again."""
        return min(self._retries.values(), default=None)

    def ack(self, message_id: str) -> None:
        """The batch and all that came of it is durable."""
        number = self._own(message_id)
        batch = self._batches.pop(number, None) if number is not None else None
        if number is None or batch is None:
            return
        self._retries.pop(number, None)
        self._pending -= len(batch.records.offsets)
        self.acked += len(batch.records.offsets)
        self._acked_emission = max(self._acked_emission, batch.emission)
        self.partitions[batch.partition].acked(number)

    def fail(self, message_id: str, now_ms: int) -> None:
        """Emit it again after a backoff with jitter, twice as long after each failure (S3)."""
        number = self._own(message_id)
        batch = self._batches.get(number) if number is not None else None
        if number is None or batch is None:
            return
        self.failed += 1
        backoff_ms = min(FIRST_BACKOFF_MS << min(batch.failures, 16), LONGEST_BACKOFF_MS)
        jitter_ms = zlib.crc32(f"{self.task}/{number}/{batch.failures}".encode()) % (backoff_ms // 2 + 1)
        self._batches[number] = batch._replace(failures=batch.failures + 1)
        self._retries[number] = now_ms + backoff_ms + jitter_ms

    def _halve(self, number: int) -> int:
        """From the third failure in halves, so that what kills a process ends alone.

        Only if a batch emitted after it was acked meanwhile: else the whole path is down, and halving helps nothing.
        """
        batch = self._batches[number]
        size = len(batch.records.offsets)
        if batch.failures < HALVED_FROM_FAILURE or size == 1 or self._acked_emission <= batch.emission:
            return number
        del self._batches[number]
        halves = []
        for part in (slice(0, size // 2), slice(size // 2, size)):
            rows = batch.records.piece(part)
            half = self._number()
            # One failure more, and a half is halved again; but each half gets its try first.
            self._batches[half] = batch._replace(records=rows, failures=HALVED_FROM_FAILURE - 1)
            halves.append((half, rows.offsets[0], min(rows.times_ms)))
        self.partitions[batch.partition].split(number, halves)
        self._retries[halves[1][0]] = 0
        return halves[0][0]

    def progress(self, now_ms: int) -> Progress:
        """What to tell every keyed bolt now (S4, S6)."""
        self._sequence += 1
        claims = tuple(
            Claim(
                partition,
                frontier.position,
                frontier.offset,
                frontier.watermark_ms(self.limits.out_of_order_ms),
                idle=self._idle(partition, now_ms),
                ended=frontier.ended,
            )
            for partition, frontier in self.partitions.items()
        )
        return Progress(self.spout, self.task, self.incarnation, self._sequence, self.partition_count, claims)

    def _idle(self, partition: str, now_ms: int) -> bool:
        after_ms = self.limits.idle_after_ms
        return (
            after_ms is not None
            and self.partitions[partition].caught_up
            and now_ms - self._news_ms[partition] >= after_ms
        )

    def frontiers(self) -> dict[str, int]:
        """What may be committed (S5)."""
        return {partition: frontier.offset for partition, frontier in self.partitions.items()}

    @property
    def lag(self) -> int:
        """Records between the frontiers and the log ends."""
        return sum(max(f.log_end - f.offset, 0) for f in self.partitions.values())

    @property
    def ended(self) -> bool:
        """Every partition of this task is at the end of the bounded input, with nothing unacked."""
        return bool(self.partitions) and all(f.ended for f in self.partitions.values())

    @property
    def caught_up(self) -> bool:
        """All there is was read and acked."""
        return bool(self.partitions) and all(f.caught_up for f in self.partitions.values())

    @property
    def watermark_ms(self) -> int | None:
        """The least watermark of this task's partitions; None before each has had a record."""
        marks = [f.watermark_ms(self.limits.out_of_order_ms) for f in self.partitions.values()]
        known = [w for w in marks if w is not None]
        return min(known) if known else None

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _own(self, message_id: str) -> int | None:
        incarnation, _, number = message_id.rpartition(":")
        return int(number) if incarnation == self.incarnation else None
