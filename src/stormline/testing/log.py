"""Kafka made of memory: topics, partitions, committed offsets, and edges that read and write them.

Like the real edges, these never call back from within a call: what happens is posted to the task's thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Standing

Post = Callable[[Callable[[], None]], None]


class Message(NamedTuple):
    """A record in a topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Log:
    """All topics. What is in here survives a crash of the driver's engine, as it would in Kafka."""

    def __init__(self) -> None:
        self.topics: dict[str, list[list[Message]]] = {}
        self.committed: dict[str, int] = {}
        """Partition -> committed offset."""
        self._readers: list[LogReader] = []

    def create(self, topic: str, partitions: int) -> None:
        self.topics.setdefault(topic, [[] for _ in range(partitions)])

    def append(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int = 0,
        headers: Mapping[str, bytes] | None = None,
        offset: int | None = None,
    ) -> int:
        """Add a record; `offset` above the log end leaves a gap, as compaction does. Returns its offset."""
        self.create(topic, 1)
        log = self.topics[topic][partition]
        end = log[-1].offset + 1 if log else 0
        at = end if offset is None else offset
        if at < end:
            raise ValueError(f"offset {at} of {topic}/{partition} is taken; the log ends at {end}")
        log.append(Message(at, timestamp_ms, key, value, headers or {}))
        for reader in self._readers:
            reader.deliver()
        return at

    def end(self, topic: str, partition: int) -> int:
        log = self.topics[topic][partition]
        return log[-1].offset + 1 if log else 0

    def connect(self, reader: LogReader) -> None:
        self._readers.append(reader)

    def disconnect_all(self) -> None:
        """The readers' process is gone."""
        self._readers.clear()


class LogReader:
    """A `components.edges.Reader` of a `Log`."""

    def __init__(
        self,
        log: Log,
        *,
        topic: str,
        task_index: int,
        task_count: int,
        max_batch: int,
        on_event: Callable[[ReaderEvent], None],
        post: Post,
    ) -> None:
        self._log, self._topic, self._max_batch = log, topic, max_batch
        self._on_event, self._post = on_event, post
        self._granted: set[str] = set()
        self._positions: dict[str, int] = {}
        first = zlib.crc32(topic.encode())
        numbers = range(len(log.topics[topic]))
        mine = [number for number in numbers if (first + number) % task_count == task_index]
        self._numbers = {f"{topic}/{number}": number for number in mine}
        log.connect(self)
        standings = tuple(
            Standing(name, number, log.committed.get(name), 0, log.end(topic, number))
            for name, number in self._numbers.items()
        )
        self._tell(Assigned(standings, len(numbers)))

    def _tell(self, event: ReaderEvent) -> None:
        self._post(lambda: self._on_event(event))

    def start(self, positions: Mapping[str, int]) -> None:
        self._positions = dict(positions)

    def want(self, partitions: frozenset[str]) -> None:
        self._granted |= partitions
        self.deliver()

    def deliver(self) -> None:
        for name in sorted(self._granted & self._positions.keys()):
            number, position = self._numbers[name], self._positions[name]
            found = [m for m in self._log.topics[self._topic][number] if m.offset >= position][: self._max_batch]
            if not found:
                continue
            self._granted.discard(name)
            self._positions[name] = found[-1].offset + 1
            offsets, times, keys, values, _ = zip(*found, strict=True)
            end = self._log.end(self._topic, number)
            self._tell(Fetched(name, offsets, times, keys, values, self._positions[name], end))

    def commit(self, offsets: Mapping[str, int]) -> None:
        self._log.committed.update(offsets)
        self._tell(Committed(dict(offsets)))

    def close(self) -> None:
        self._granted.clear()


class LogWriter:
    """A `components.edges.Writer` into a `Log`."""

    def __init__(self, log: Log, post: Post) -> None:
        self._log, self._post = log, post

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[str | None], None],
    ) -> None:
        self._log.append(topic, 0, key=key, value=value, headers=dict(headers))
        self._post(lambda: done(None))

    def close(self) -> None:
        """Nothing is on its way."""
