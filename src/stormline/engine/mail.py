"""Tuples and completions on their way inside one worker: two orders in which they arrive.

Both keep Storm's promise, first in first out per (sending task, receiving task), and neither promises more.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Generic, Protocol, TypeVar

P = TypeVar("P")


class Mail(Protocol[P]):
    """Parcels from one task to another."""

    def put(self, source: int, target: int, parcel: P) -> None: ...

    def take(self) -> tuple[int, P]:
        """The next (receiving task, parcel); there is one."""

    def drop(self, target: int) -> list[P]:
        """Take out all that waits for this task."""

    def __len__(self) -> int:
        """How many are on their way."""


class InOrder(Generic[P]):
    """Whatever was sent first arrives first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, P]] = deque()
        self.take = self._waiting.popleft

    def put(self, source: int, target: int, parcel: P) -> None:
        self._waiting.append((target, parcel))

    def drop(self, target: int) -> list[P]:
        dropped = [parcel for to, parcel in self._waiting if to == target]
        kept = [entry for entry in self._waiting if entry[0] != target]
        self._waiting.clear()
        self._waiting.extend(kept)
        return dropped

    def __len__(self) -> int:
        return len(self._waiting)


class Drawn(Generic[P]):
    """Which pair of tasks comes next is drawn from `random`: tuples of different senders overtake each other, as they
    do on a cluster."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._queues: dict[tuple[int, int], deque[P]] = {}
        self._pairs: list[tuple[int, int]] = []
        """The keys of `_queues`, each of which holds at least one parcel."""

    def put(self, source: int, target: int, parcel: P) -> None:
        pair = source, target
        queue = self._queues.get(pair)
        if queue is None:
            queue = self._queues[pair] = deque()
            self._pairs.append(pair)
        queue.append(parcel)

    def take(self) -> tuple[int, P]:
        at = self._random.randrange(len(self._pairs))
        pair = self._pairs[at]
        queue = self._queues[pair]
        parcel = queue.popleft()
        if not queue:
            del self._queues[pair]
            self._pairs[at] = self._pairs[-1]
            self._pairs.pop()
        return pair[1], parcel

    def drop(self, target: int) -> list[P]:
        gone = [pair for pair in self._pairs if pair[1] == target]
        self._pairs = [pair for pair in self._pairs if pair[1] != target]
        return [parcel for pair in gone for parcel in self._queues.pop(pair)]

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))
