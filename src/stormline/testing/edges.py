"""Edges made of memory: what a component under test gets for its reader, writer and store.

Like the real edges, these never call back from within a call: what happens is posted to the task's thread.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Standing, Unsent
from stormline.core.requests import Reply, Request
from stormline.core.topics import Topics, chosen
from stormline.testing.log import Log
from stormline.testing.store import MemoryStore

Post = Callable[[Callable[[], None]], None]


class MemoryEdges:
    """`components.edges.Edges` of a log and a store."""

    def __init__(self, log: Log, store: MemoryStore) -> None:
        self._log, self._store = log, store

    def reader(self, *, group: str, **settings: Any) -> LogReader:
        return LogReader(self._log, **settings)

    def writer(self, *, create: bool, post: Post) -> LogWriter:
        return LogWriter(self._log, create, post)

    def store(self, *, app: str, post: Post) -> TaskStore:
        return TaskStore(self._store, post)


class LogReader:
    """A `components.edges.Reader` of a `Log`."""

    def __init__(
        self,
        log: Log,
        *,
        topics: Topics,
        task_index: int,
        task_count: int,
        max_batch: int,
        timestamps: bool,
        start_ms: int | None,
        on_event: Callable[[ReaderEvent], None],
        post: Post,
    ) -> None:
        self._log, self._topics, self._max_batch = log, topics, max_batch
        self._task_index, self._task_count, self._start_ms = task_index, task_count, start_ms
        self._on_event, self._post = on_event, post
        self._granted: set[str] = set()
        self._positions: dict[str, int] = {}
        self._found: dict[str, tuple[str, int]] = {}
        self._count = 0
        log.listen(lambda: post(self._look))
        self._look()

    def _look(self) -> None:
        """Take up partitions that are there now, and deliver."""
        places = [
            (topic, number)
            for topic in chosen(self._topics, self._log.topics)
            for number in range(len(self._log.topics[topic]))
        ]
        if len(places) > self._count:
            self._count = len(places)
            mine = {
                f"{topic}/{number}": (topic, number)
                for topic, number in places
                if (zlib.crc32(topic.encode()) + number) % self._task_count == self._task_index
            }
            fresh = {name: place for name, place in mine.items() if name not in self._found}
            self._found.update(fresh)
            standings = tuple(self._standing(name, *place) for name, place in fresh.items())
            self._tell(Assigned(standings, len(places), Counter(topic for topic, _ in places)))
        self._deliver()

    def _standing(self, name: str, topic: str, number: int) -> Standing:
        log = self._log
        since = None if self._start_ms is None else log.since(topic, number, self._start_ms)
        beginning, end = log.beginning(topic, number), log.end(topic, number)
        return Standing(name, topic, number, log.committed.get(name), beginning, end, since)

    def _tell(self, event: ReaderEvent) -> None:
        self._post(lambda: self._on_event(event))

    def start(self, positions: Mapping[str, int]) -> None:
        self._positions.update(positions)

    def want(self, partitions: frozenset[str]) -> None:
        self._granted |= partitions
        self._deliver()

    def _deliver(self) -> None:
        for name in sorted(self._granted & self._positions.keys()):
            (topic, number), position = self._found[name], self._positions[name]
            found = self._log.read(topic, number, position, self._max_batch)
            if not found:
                continue
            self._granted.discard(name)
            self._positions[name] = found[-1].offset + 1
            offsets, times, keys, values, _ = zip(*found, strict=True)
            headers = [tuple(message.headers.items()) for message in found]
            end = self._log.end(topic, number)
            self._tell(Fetched(name, offsets, times, keys, values, self._positions[name], end, headers))

    def commit(self, offsets: Mapping[str, int]) -> None:
        self._log.committed.update(offsets)
        self._tell(Committed(dict(offsets)))

    def close(self) -> None:
        self._granted.clear()


class LogWriter:
    """A `components.edges.Writer` into a `Log`."""

    def __init__(self, log: Log, create: bool, post: Post) -> None:
        self._log, self._create, self._post = log, create, post

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[Unsent | None], None],
    ) -> None:
        refusal = self._log.refusals.pop(0) if self._log.refusals else None
        size = len(value or b"") + len(key or b"") + sum(len(name) + len(text) for name, text in headers)
        if refusal is None and size > self._log.max_bytes:
            refusal = Unsent(f"topic {topic}: the record has {size} bytes", final=True)
        if refusal is None and topic not in self._log.topics and not self._create:
            refusal = Unsent(f"topic {topic} does not exist")
        if refusal is None:
            self._log.create(topic, 1)
            self._log.append(topic, 0, key=key, value=value, headers=dict(headers))
        self._post(lambda: done(refusal))

    def close(self) -> None:
        """Nothing is on its way."""


class TaskStore:
    """One task's view: replies are posted, never given from within the call."""

    def __init__(self, store: MemoryStore, post: Post) -> None:
        self._store, self._post = store, post

    def submit(self, requests: Sequence[Request], done: Callable[[list[Reply]], None]) -> None:
        replies = [self._store.ask(request) for request in requests]
        self._post(partial(done, replies))

    def close(self) -> None:
        """Nothing is open."""
