"""Which offsets are counted in a slot: a floor per partition, and ranges of offsets above it, per lane.

An offset is the cheapest identity that survives replays, reordering and other batch cuts; a high-water mark or the
identity of a batch does not. A tuple holds all records of its task between its first and its last offset, so one range
says of all of them that they are counted (see docs/protocol.md, K2).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

Ranges = dict[str, dict[str, list[int]]]
"""Lane -> partition -> ascending bounds: from the first of a pair to before the second the offsets are included."""


class Included:
    """Ranges of included offsets, by lane and partition."""

    def __init__(self, ranges: Mapping[str, Mapping[str, list[int]]] | None = None) -> None:
        self._bounds: dict[tuple[str, str], list[int]] = {
            (lane, partition): list(bounds)
            for lane, partitions in (ranges or {}).items()
            for partition, bounds in partitions.items()
        }

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def add(self, lane: str, partition: str, first: int, last: int) -> None:
        """All offsets from `first` to `last`, both of them too."""
        end = last + 1
        bounds = self._bounds.setdefault((lane, partition), [])
        if not bounds or first > bounds[-1]:
            bounds += (first, end)
            return
        left, right = bisect_left(bounds, first), bisect_right(bounds, end)
        # A bound at an odd place ends a range: what begins or ends inside of one grows into it.
        bounds[left:right] = ([] if left % 2 else [first]) + ([] if right % 2 else [end])

    def has(self, lane: str, partition: str, offset: int) -> bool:
        bounds = self._bounds.get((lane, partition))
        return bounds is not None and bisect_right(bounds, offset) % 2 == 1

    def touches(self, lane: str, partition: str, first: int, last: int) -> bool:
        """Some offset from `first` to `last` is included."""
        bounds = self._bounds.get((lane, partition))
        if not bounds or first >= bounds[-1]:
            return False
        at = bisect_right(bounds, first)
        return at % 2 == 1 or bounds[at] <= last

    def prune(self, floor: Mapping[str, int]) -> None:
        """Drop what lies below the floor."""
        for place, bounds in list(self._bounds.items()):
            lowest = floor.get(place[1], 0)
            at = bisect_right(bounds, lowest)
            bounds[:at] = [lowest] if at % 2 else []
            if not bounds:
                del self._bounds[place]

    def with_those_of(self, other: Included) -> Ranges:
        """What either includes, ready to be written."""
        if not self._bounds:
            return other.ranges()
        both = Included(self.ranges())
        for (lane, partition), bounds in other._bounds.items():
            for first, end in zip(bounds[::2], bounds[1::2], strict=True):
                both.add(lane, partition, first, end - 1)
        return both.ranges()

    def ranges(self) -> Ranges:
        """All of it, ready to be written."""
        written: Ranges = {}
        for (lane, partition), bounds in self._bounds.items():
            written.setdefault(lane, {})[partition] = list(bounds)
        return written
