"""Kafka made of memory: topics, partitions, committed offsets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NamedTuple

from stormline.core.events import Unsent


class Message(NamedTuple):
    """A record in a topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class DeadLetter(NamedTuple):
    """A record that broke something, as the dead-letter topic keeps it."""

    component: str
    """Who could not take it."""
    reason: str
    """Component, function with file and line, what was raised, what came."""
    origin: str
    """`topic/partition/offset`"""
    value: bytes | None
    """A spout's: the bytes from Kafka; a bolt's: the record as JSON."""
    attempts: int
    traceback: str

    @classmethod
    def of(cls, message: Message) -> DeadLetter:
        """Read one from the dead-letter topic."""
        text = {name: raw.decode() for name, raw in message.headers.items()}
        attempts = int(text["attempts"])
        return cls(text["component"], text["reason"], text["origin"], message.value, attempts, text["traceback"])


class Log:
    """All topics. What is in here survives a crash of the driver's engine, as it would in Kafka."""

    def __init__(self) -> None:
        self.topics: dict[str, list[list[Message]]] = {}
        self.committed: dict[str, int] = {}
        """Partition -> committed offset."""
        self.refusals: list[Unsent] = []
        """Reasons for which the next writes of components are refused, one each."""
        self.max_bytes = 1_000_000
        """What is larger is refused for ever, as a broker does."""
        self._beginnings: dict[tuple[str, int], int] = {}
        self._listeners: list[Callable[[], None]] = []

    def create(self, topic: str, partitions: int) -> None:
        """A topic, or further partitions of one."""
        found = self.topics.setdefault(topic, [])
        found.extend([] for _ in range(partitions - len(found)))
        for listener in self._listeners:
            listener()

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
        log = self.topics[topic][partition]
        end = self.end(topic, partition)
        at = end if offset is None else offset
        if at < end:
            raise ValueError(f"offset {at} of {topic}/{partition} is taken; the log ends at {end}")
        log.append(Message(at, timestamp_ms, key, value, headers or {}))
        for listener in self._listeners:
            listener()
        return at

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Retention: what is older is gone."""
        log = self.topics[topic][partition]
        log[:] = [message for message in log if message.offset >= offset]
        self._beginnings[topic, partition] = offset

    def beginning(self, topic: str, partition: int) -> int:
        """The first offset that may be there."""
        return self._beginnings.get((topic, partition), 0)

    def since(self, topic: str, partition: int, time_ms: int) -> int:
        """The first offset with this timestamp or a later one, else the log end."""
        log = self.topics[topic][partition]
        return next((each.offset for each in log if each.timestamp_ms >= time_ms), self.end(topic, partition))

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record would have."""
        log = self.topics[topic][partition]
        return log[-1].offset + 1 if log else self.beginning(topic, partition)

    def read(self, topic: str, partition: int, position: int, most: int) -> list[Message]:
        """At most so many records from this offset on."""
        log = self.topics[topic][partition]
        first = bisect_left(log, position, key=lambda message: message.offset)
        return log[first : first + most]

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this after each record that is added."""
        self._listeners.append(listener)

    def disconnect_all(self) -> None:
        """The process of those who listen is gone."""
        self._listeners.clear()
