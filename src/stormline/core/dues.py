"""What is due when: a heap with one entry a place, however often its time is moved."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

Place = tuple[str, str]
"""A key, and the name of one of its timers."""


class Dues:
    """Places by when they are due, or earlier: whoever takes one looks at whether it is, and else puts it back. So
    what is moved on with each record needs no entry for each of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, Place]] = []
        self._at: dict[Place, int] = {}
        """Place -> the time of its entry; other entries of it count no more."""

    def __iter__(self) -> Iterator[Place]:
        return iter(self._at)

    def put(self, place: Place, due_ms: int) -> None:
        """An earlier entry will do."""
        at = self._at.get(place)
        if at is None or due_ms < at:
            self._at[place] = due_ms
            heappush(self._heap, (due_ms, place))

    def take(self, upto_ms: int) -> Place | None:
        """The first that may be due by then; None: there is none."""
        while self._heap and self._heap[0][0] <= upto_ms:
            at, place = heappop(self._heap)
            if self._at.get(place) == at:
                del self._at[place]
                return place
        return None
