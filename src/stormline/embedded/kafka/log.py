"""The log of one partition: segments on disk, the producers they came from, what is committed, and who waits.

The last segment is the one that is written. Offsets are dense: a record's offset is the number of records and markers
before it.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from stormline.embedded.kafka import batches, markers
from stormline.embedded.kafka.batches import Batch
from stormline.embedded.kafka.errors import Code, DamagedError, RefusedError, tell
from stormline.embedded.kafka.producers import Producers
from stormline.embedded.kafka.segment import Segment
from stormline.embedded.kafka.visibility import Aborted, Visibility


@dataclass(slots=True)
class Limits:
    """The settings of a topic that its logs obey, by the names of Kafka's topic configuration; -1 is no limit."""

    segment_bytes: int = 64 << 20
    retention_ms: int = -1  # Kafka's default is a week, which deletes records with historic times within minutes
    retention_bytes: int = -1
    max_message_bytes: int = 1048588
    log_append_time: bool = False
    """message.timestamp.type: records get the time at which they are stored, not that of their producer."""


@dataclass(slots=True, eq=False)
class Log:
    """One partition. `start` is the first offset that can be read, `end` the one the next record gets."""

    directory: Path
    limits: Limits
    start: int = 0
    segments: list[Segment] = field(default_factory=list)
    producers: Producers = field(default_factory=Producers)
    visibility: Visibility = field(default_factory=Visibility)
    waiters: set[asyncio.Event] = field(default_factory=set)

    @property
    def end(self) -> int:
        return self.segments[-1].next_offset

    @property
    def last_stable_offset(self) -> int:
        """Where a reader of committed records waits: the first offset of the oldest open transaction, or the end."""
        return max(self.visibility.last_stable_offset(self.end), self.start)

    def recover(self, *, is_intact: bool) -> None:
        """Open the files and take what is whole. `is_intact`: the broker was stopped in order, so no batch is torn.

        A torn tail of the last segment is cut off and reported; a hole anywhere else raises DamagedError.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        bases = sorted(int(path.stem) for path in self.directory.glob("*.log")) or [self.start]
        for base in bases:
            segment = Segment(self.directory, base)
            is_last = base == bases[-1]
            for batch in segment.recover(is_intact=is_intact or not is_last):
                content = segment.file.read(segment.end - batch.size, batch.size) if batch.is_control else b""
                self._note(content, batch, batch.base_offset)
            torn = segment.file.size - segment.end
            if torn and not is_last:
                raise DamagedError(
                    f"{segment.file.path} is damaged at byte {segment.end}; restore it, or delete the topic"
                )
            if torn:
                tell(f"cut {torn} bytes of an unfinished write from {segment.file.path}")
                segment.file.cut(segment.end)
            self.segments.append(segment)
        self.start = max(self.start, self.segments[0].base_offset)
        self.visibility.trim(self.start)

    def _note(self, content: bytes, batch: Batch, base_offset: int) -> None:
        self.producers.note(batch, base_offset)
        self.visibility.note(batch, base_offset, commits=batch.is_control and markers.commits(content))

    def append(self, content: bytes, batch: Batch) -> tuple[int, int]:
        """Store a batch that was accepted, or a marker; answer its base offset, and its time where that is the log's
        own (else -1). A copy of an earlier batch is only answered.

        Raises RefusedError on a gap in a producer's sequence, OSError when the disk does; nothing is stored then.
        """
        if not batch.is_control:
            if (original := self.producers.check(batch)) is not None:
                return original, -1
            if batch.producer_id in self.visibility.open and not batch.is_transactional:
                raise RefusedError(Code.INVALID_TXN_STATE, f"producer {batch.producer_id} has an open transaction here")
            if self.limits.log_append_time:
                content, batch = batches.stamped(content, batch, time.time_ns() // 1_000_000)
        active = self.segments[-1]
        if active.file.size and active.file.size + batch.size > self.limits.segment_bytes:
            active.file.sync()  # the periodic sync looks at the last segment only
            active = Segment(self.directory, active.next_offset)
            self.segments.append(active)
            self.retain(time.time_ns() // 1_000_000)
        base_offset = active.next_offset
        active.append(content, batch)
        self._note(content, batch, base_offset)
        self.wake()
        return base_offset, batch.max_timestamp if self.limits.log_append_time else -1

    def wake(self) -> None:
        """Let every waiting fetch look again."""
        for waiter in self.waiters:
            waiter.set()

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool, committed_only: bool = False) -> bytes:
        """Whole batches from the one that holds `offset` on, out of one segment; `committed_only`: none from the last
        stable offset on. RefusedError when out of range."""
        segment = self._segment(offset)
        return segment.read(offset, self._limit(committed_only=committed_only), max_bytes, at_least_one=at_least_one)

    def available(self, offset: int, *, committed_only: bool = False) -> int:
        """How many bytes a fetch at `offset` could get in all. RefusedError when out of range."""
        first = self._segment(offset)
        limit = self._limit(committed_only=committed_only)
        behind = sum(each.position_of(limit) for each in self.segments if each.base_offset > first.base_offset)
        return max(first.position_of(limit) - first.position_of(offset) + behind, 0)

    def _limit(self, *, committed_only: bool) -> int:
        return self.last_stable_offset if committed_only else self.end

    def aborted(self, offset: int, records: bytes) -> list[Aborted]:
        """The aborted transactions in what was read from `offset` on."""
        if not self.visibility.has_aborted:
            return []
        return self.visibility.aborted(offset, batches.end_of(records, offset))

    def _segment(self, offset: int) -> Segment:
        if not self.start <= offset <= self.end:
            raise RefusedError(Code.OFFSET_OUT_OF_RANGE, f"offset {offset} is not in {self.start}..{self.end}")
        candidates = (segment for segment in reversed(self.segments) if segment.base_offset <= offset)
        return next(candidates)

    def first_at(self, timestamp: int) -> tuple[int, int] | None:
        """Offset and time of the first record that is not older than `timestamp` (ms) and can be read, or None."""
        for segment in self.segments:
            if segment.next_offset > self.start and (found := segment.first_at(timestamp, self.start)) is not None:
                return found
        return None

    def latest(self) -> tuple[int, int] | None:
        """Offset and time of the record with the highest time, or None in an empty log."""
        newest = max(self.segments, key=lambda segment: segment.max_timestamp)
        return newest.latest() if self.start < self.end else None

    def trim(self, start: int) -> None:
        """Make `start` the first offset that can be read, and delete the segments that lie wholly before it."""
        self.start = max(self.start, start)
        self.visibility.trim(self.start)
        while len(self.segments) > 1 and self.segments[0].next_offset <= self.start:
            self.segments.pop(0).delete()

    def retain(self, now_ms: int) -> None:
        """Delete the oldest closed segments that the topic's retention.ms or retention.bytes no longer keeps."""
        size = sum(segment.file.size for segment in self.segments)
        for segment in self.segments[:-1]:
            is_old = 0 <= self.limits.retention_ms < now_ms - segment.max_timestamp
            is_over = 0 <= self.limits.retention_bytes <= size - segment.file.size
            if not (is_old or is_over):
                break
            size -= segment.file.size
            self.trim(segment.next_offset)

    def close(self) -> None:
        for segment in self.segments:
            segment.file.close()
        self.wake()
