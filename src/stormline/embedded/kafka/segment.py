"""One file of a partition's log: whole record batches, one after the other, and a sparse index of them in memory."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path

from stormline.embedded.kafka import batches
from stormline.embedded.kafka.append_file import AppendFile
from stormline.embedded.kafka.batches import HEADER_SIZE, Batch

_INDEX_INTERVAL_BYTES = 4096  # Kafka's index.interval.bytes: at most that much is walked to find a batch
_NO_TIME = -1


class Segment:
    """The batches from `base_offset` up to, not including, `next_offset`. The file name is the base offset."""

    def __init__(self, directory: Path, base_offset: int) -> None:
        self.file = AppendFile(directory / f"{base_offset:020d}.log")
        self.base_offset = base_offset
        self.next_offset = base_offset
        self.max_timestamp = _NO_TIME
        self._offsets, self._positions = array("q"), array("q")
        self._times_before = array("q")  # the highest time of all batches before the indexed one
        self._latest = 0  # the position of the first batch with the highest time

    def recover(self, *, is_intact: bool) -> Iterator[Batch]:
        """Index what the file holds and yield each batch's header; stop at the first batch that is not whole.

        After it `end` tells how far the file is good. Checksums are read unless the file is known to be intact.
        """
        self.end = 0
        with self.file.view() as content:
            while (batch := batches.read_header(content, self.end)) is not None:
                if batch.base_offset < self.next_offset or self.end + batch.size > len(content):
                    return
                if not is_intact and not batches.is_intact(content, self.end, batch):
                    return
                self._index(batch, self.end)
                self.end += batch.size
                yield batch

    def append(self, content: bytes, batch: Batch) -> None:
        """Store a batch at `next_offset`. On an OSError nothing is stored."""
        placed = batch._replace(base_offset=self.next_offset)
        self._index(placed, self.file.append(batches.placed(content, batch, self.next_offset)))

    def _index(self, batch: Batch, position: int) -> None:
        if not self._positions or position - self._positions[-1] >= _INDEX_INTERVAL_BYTES:
            self._offsets.append(batch.base_offset)
            self._positions.append(position)
            self._times_before.append(self.max_timestamp)
        if batch.max_timestamp > self.max_timestamp:
            self.max_timestamp, self._latest = batch.max_timestamp, position
        self.next_offset = batch.next_offset

    def position_of(self, offset: int) -> int:
        """Where the batch that holds `offset` begins, or the next one if none holds it."""
        if offset >= self.next_offset:
            return self.file.size
        indexed = max(bisect_right(self._offsets, offset) - 1, 0)
        for position, batch in self._walk(self._positions[indexed]):
            if batch.next_offset > offset:
                return position
        return self.file.size

    def read(self, offset: int, until: int, max_bytes: int, *, at_least_one: bool) -> bytes:
        """Whole batches from the one that holds `offset` to before the one that holds `until`, at most `max_bytes`, but
        `at_least_one` if there is one."""
        start = self.position_of(offset)
        limit = start + max_bytes
        end = self.position_of(until)
        if end > limit:
            indexed = bisect_right(self._positions, limit) - 1
            end = max(self._positions[indexed], start)
            for position, batch in self._walk(end):
                end = position
                if position + batch.size > limit and not (at_least_one and position == start):
                    break
                end = position + batch.size
        return self.file.read(start, max(end - start, 0))

    def first_at(self, timestamp: int, start: int) -> tuple[int, int] | None:
        """Offset and time of the first record at or after offset `start` not older than `timestamp` (ms), or None."""
        if self.max_timestamp < timestamp:
            return None
        indexed = bisect_left(self._times_before, timestamp) - 1
        for position, batch in self._walk(self._positions[max(indexed, 0)]):
            if batch.max_timestamp >= timestamp:
                for offset, time in self._times(position, batch):
                    if offset >= start and time >= timestamp:
                        return offset, time
        return None

    def latest(self) -> tuple[int, int] | None:
        """Offset and time of the first record with the highest time, or None in an empty segment."""
        for position, batch in self._walk(self._latest):
            return max(self._times(position, batch), key=lambda pair: (pair[1], -pair[0]))
        return None

    def _walk(self, position: int) -> Iterator[tuple[int, Batch]]:
        while (batch := batches.read_header(self.file.read(position, HEADER_SIZE))) is not None:
            yield position, batch
            position += batch.size

    def _times(self, position: int, batch: Batch) -> Iterator[tuple[int, int]]:
        return batches.times(self.file.read(position, batch.size), batch)

    def delete(self) -> None:
        self.file.close()
        self.file.path.unlink(missing_ok=True)
