"""The rules of a spout task (S1 to S6): what may be fetched, what is emitted next, what a failure leads to, what may be
committed, and what is told to the keyed bolts.

Nothing is ever given up for a failure: Storm's fail carries no reason, so a batch that fails is emitted again for ever.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stormline.core.batch import Rows, pieces
from stormline.core.careful import Care, Careful
from stormline.core.frontier import Frontier
from stormline.core.pending import Limits, Pending
from stormline.core.progress import Claim, Progress
from stormline.core.report import PartitionReport, encode

FIRST_BACKOFF_MS = 100
LONGEST_BACKOFF_MS = 10_000
HALVED_FROM_FAILURE = 3
FETCH_BELOW = 3
"""A partition with fewer batches than this waiting to be emitted is fetched from."""
WAIT_FOR_MS = 100
"""So long what lies ahead in event time waits for a partition that may have older records, which are not here yet."""


class Emission(NamedTuple):
    """A batch to emit under this message id, for the so many-th time."""

    message_id: str
    partition: str
    records: Rows
    attempt: int


class _Batch(NamedTuple):
    partition: str
    records: Rows
    failures: int
    emission: int
    """Number of its latest emission, 0 before the first."""
    size: int
    """Bytes a record, on average."""
    attempts: int = 0
    """How many times its records have been emitted."""


class Skipped(NamedTuple):
    """A record that is passed over because an operator says so; `number` is settled once it is a dead letter."""

    number: int
    value: Any
    attempts: int


class Source:
    """One spout task. `incarnation` tells its message ids from those of earlier lives."""

    def __init__(self, spout: str, task: int, incarnation: str, limits: Limits) -> None:
        self.spout = spout
        self.task = task
        self.incarnation = incarnation
        self.limits = limits
        self.partitions: dict[str, Frontier] = {}
        self.partition_count = 0
        self.is_limited = False
        """A partition was not `wanted` for what is not acked: an ack may change that."""
        self.read = self.acked = self.replayed = self.failed = 0
        self._batches: dict[int, _Batch] = {}
        self._fresh: dict[str, deque[int]] = {}
        self._retries: dict[int, int] = {}
        self._news_ms: dict[str, int] = {}
        self._empty_since_ms: dict[str, int] = {}
        self._pending = Pending(limits)
        self.care = Care()
        self._waits_until_ms: int | None = None
        self._numbers = self._emissions = self._acked_emission = self._sequence = 0

    def assign(self, partition: str, start: int, log_end: int, now_ms: int, starts: int = 0) -> None:
        """Read this partition from `start` on (S1), where it was begun `starts` times without getting on."""
        self.partitions[partition] = Frontier(start)
        self.partitions[partition].moved(start, log_end)
        self._fresh[partition] = deque()
        self._news_ms[partition] = self._empty_since_ms[partition] = now_ms
        self._pending.assign(partition)
        if (careful := Careful.after(starts, start)) is not None:
            self.care.partitions[partition] = careful

    def wanted(self) -> frozenset[str]:
        """The partitions that may be fetched from (S2)."""
        full, span = self._pending.full(), self.limits.span
        open_ = [
            partition
            for partition, frontier in self.partitions.items()
            if partition not in full and frontier.position - frontier.offset < span
        ]
        self.is_limited = len(open_) < len(self.partitions)
        return frozenset(partition for partition in open_ if len(self._fresh[partition]) < FETCH_BELOW)

    def take(
        self,
        partition: str,
        records: Rows,
        broken: Sequence[int],
        next_offset: int,
        log_end: int,
        now_ms: int,
        size: int = 0,
    ) -> list[int]:
        """Records were fetched, of so many bytes; `broken` are the offsets that hold none that could be emitted.

        Returns one number for each broken offset: the frontier does not pass it before `settle(number)`.
        """
        frontier = self.partitions[partition]
        if next_offset > frontier.position:
            self._news_ms[partition] = now_ms
        numbers = [self._number() for _ in broken]
        for number, offset in zip(numbers, broken, strict=True):
            frontier.read(number, offset, None, None)
        count = len(records.offsets)
        each = size // count if count else 0
        for piece in map(records.piece, pieces(records.offsets, broken)):
            for part in self.care.parts(partition, piece):
                number = self._number()
                frontier.read(number, part.offsets[0], min(part.times_ms), max(part.times_ms))
                self._batches[number] = _Batch(partition, part, 0, 0, each)
                self._fresh[partition].append(number)
        self._pending.add(partition, count, count * each)
        self.read += count + len(broken)
        frontier.moved(next_offset, log_end)
        return numbers

    def settle(self, partition: str, number: int) -> None:
        """The record behind this number of `take` is safe in the dead-letter topic."""
        self.partitions[partition].acked(number)
        self._got_on(partition)

    def bound(self, ends: Mapping[str, int]) -> None:
        """The input ends here: partition -> end offset."""
        for partition, end in ends.items():
            if partition in self.partitions:
                self.partitions[partition].end = end

    def next(self, now_ms: int) -> Emission | None:
        """The batch to emit now, if any: a failed one whose backoff is over, else the oldest in event time."""
        self._waits_until_ms = None
        due = [number for number, due_ms in self._retries.items() if due_ms <= now_ms]
        if due:
            number = due[0]
            del self._retries[number]
            number = self._halve(number)
        else:
            oldest = self._oldest(now_ms)
            if oldest is None:
                return None
            number = self._fresh[oldest].popleft()
            if not self._fresh[oldest]:
                self._empty_since_ms[oldest] = now_ms
        self._emissions += 1
        batch = self._batches[number]
        self._batches[number] = batch._replace(emission=self._emissions, attempts=batch.attempts + 1)
        self.care.emitted(number)
        if batch.emission > 0:
            self.replayed += len(batch.records.offsets)
        return Emission(f"{self.incarnation}:{number}", batch.partition, batch.records, batch.attempts + 1)

    def _oldest(self, now_ms: int) -> str | None:
        """The partition furthest behind in event time, of those with a batch that may go.

        One that is empty-handed, and whose next records may be older than all that are here, is waited for a moment: to
        read another one ahead of it would open windows that stay open until it has come so far.
        """
        heads = [
            (self._batches[fresh[0]].records.times_ms[0], partition)
            for partition, fresh in self._fresh.items()
            if fresh and self.care.lets(partition, fresh[0])
        ]
        if not heads:
            return None
        at_ms, oldest = min(heads)
        for partition, fresh in self._fresh.items():
            frontier = self.partitions[partition]
            if fresh or frontier.position >= frontier.log_end:
                continue
            reached_ms, until_ms = frontier.highest_ms, self._empty_since_ms[partition] + WAIT_FOR_MS
            if now_ms < until_ms and (reached_ms is None or reached_ms < at_ms):
                self._waits_until_ms = until_ms
                return None
        return oldest

    @property
    def is_waiting(self) -> bool:
        """What could go waits for another partition."""
        return self._waits_until_ms is not None

    @property
    def due_ms(self) -> int | None:
        """When the next batch is to be emitted that has to wait."""
        dues = list(self._retries.values())
        if self._waits_until_ms is not None:
            dues.append(self._waits_until_ms)
        return min(dues, default=None)

    @property
    def to_try(self) -> tuple[str, int, int] | None:
        """Partition, first offset and count of the records to go carefully next: not before `tried` is called."""
        if self.care.is_busy:
            return None
        heads = [
            (self._batches[self._fresh[partition][0]].records, partition)
            for partition in self.care.partitions
            if self._fresh[partition]
        ]
        oldest = min(heads, key=lambda head: head[0].times_ms[0], default=None)
        return None if oldest is None else (oldest[1], oldest[0].offsets[0], len(oldest[0].offsets))

    def tried(self, partition: str, offset: int, count: int) -> None:
        """The store knows now that these records go out next, if that is still so."""
        if self.to_try == (partition, offset, count):
            self.care.grant(self._fresh[partition][0])

    def withdraw(self) -> None:
        """Nothing is emitted from now on: what has failed is not out, and what may go carefully has to ask again."""
        self.care.withdraw(self._retries)

    def ack(self, message_id: str) -> None:
        """The batch and all that came of it is durable."""
        number = self._own(message_id)
        batch = self._batches.pop(number, None) if number is not None else None
        if number is None or batch is None:
            return
        self._retries.pop(number, None)
        count = len(batch.records.offsets)
        self._pending.add(batch.partition, -count, -count * batch.size)
        self.acked += count
        self._acked_emission = max(self._acked_emission, batch.emission)
        self.partitions[batch.partition].acked(number)
        self.care.gone(number)
        self._got_on(batch.partition)

    def _got_on(self, partition: str) -> None:
        """Care ends where it is no longer needed."""
        if self.care.partitions:
            frontier = self.partitions[partition]
            self.care.got_on(partition, frontier.offset, caught_up=frontier.caught_up)

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
        self.care.split(number, (half for half, _, _ in halves))
        self._retries[halves[1][0]] = 0
        return halves[0][0]

    def skip(self, partition: str, offset: int, now_ms: int) -> Skipped | None:
        """Take this record out of the batch that it is in, if it is in one; the rest of it is emitted again."""
        found = (n for n, b in self._batches.items() if b.partition == partition and offset in b.records.offsets)
        number = next(found, None)
        if number is None:
            return None
        batch = self._batches.pop(number)
        at = batch.records.offsets.index(offset)
        left = self._number()
        parts: list[tuple[int, int, int | None]] = [(left, offset, None)]
        fresh = self._fresh[partition]
        place = fresh.index(number) if number in fresh else None
        self._retries.pop(number, None)
        added = []
        for part in (slice(0, at), slice(at + 1, None)):
            rows = batch.records.piece(part)
            if rows.offsets:
                added.append(self._number())
                self._batches[added[-1]] = batch._replace(records=rows)
                parts.append((added[-1], rows.offsets[0], min(rows.times_ms)))
        if place is None:
            self._retries.update(dict.fromkeys(added, now_ms))
        else:
            fresh.remove(number)
            for each in reversed(added):
                fresh.insert(place, each)
        self.care.split(number, added)
        self.partitions[partition].split(number, parts)
        self._pending.add(partition, -1, -batch.size)
        self.replayed += batch.emission > 0
        return Skipped(left, batch.records.values[at], batch.attempts)

    @property
    def careful(self) -> frozenset[str]:
        """The partitions of which records go in small batches, one after the other."""
        return frozenset(self.care.partitions)

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

    def report(self, now_ms: int) -> dict[str, bytes]:
        """Partition -> JSON of a `PartitionReport`."""
        return {name: encode(self._reported(name, frontier, now_ms)) for name, frontier in self.partitions.items()}

    def _reported(self, name: str, frontier: Frontier, now_ms: int) -> PartitionReport:
        oldest = self._batches.get(frontier.oldest or 0)
        held = oldest if oldest is not None and oldest.failures else None
        return PartitionReport(
            spout=self.spout,
            task=self.task,
            at_ms=now_ms,
            frontier=frontier.offset,
            position=frontier.position,
            log_end=frontier.log_end,
            watermark_ms=frontier.watermark_ms(self.limits.out_of_order_ms),
            idle=self._idle(name, now_ms),
            held_by=None if held is None else (held.records.offsets[0], held.records.offsets[-1]),
            records=0 if held is None else len(held.records.offsets),
            failures=0 if held is None else held.failures,
        )

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
        return min((mark for mark in marks if mark is not None), default=None)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _own(self, message_id: str) -> int | None:
        incarnation, _, number = message_id.rpartition(":")
        return int(number) if incarnation == self.incarnation else None
