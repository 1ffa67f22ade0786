"""Which offsets are counted in a slot: a floor per partition, and the offsets above it, per lane.

An offset is the cheapest identity that survives replays, reordering and other batch cuts; a high-water mark or the
identity of a batch does not (see docs/protocol.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping


class Included:
    """The included offsets of one slot. The floor is the task's: what it says of a partition holds for every slot."""

    def __init__(self, offsets: Mapping[str, Mapping[str, list[int]]] | None = None) -> None:
        self._offsets: dict[str, dict[str, set[int]]] = {
            lane: {partition: set(offsets) for partition, offsets in partitions.items()}
            for lane, partitions in (offsets or {}).items()
        }

    def of(self, lane: str, partition: str) -> set[int]:
        """The included offsets of one lane and partition; the caller adds to the set what it counts."""
        return self._offsets.setdefault(lane, {}).setdefault(partition, set())

    def prune(self, floor: Mapping[str, int]) -> dict[str, dict[str, list[int]]]:
        """Drop what lies below the floor; what remains, ascending, ready to be written."""
        kept: dict[str, dict[str, list[int]]] = {}
        for lane, partitions in self._offsets.items():
            for partition, offsets in partitions.items():
                bound = floor.get(partition, 0)
                ascending = sorted(offsets)
                first = bisect_left(ascending, bound)
                offsets.difference_update(ascending[:first])
                if offsets:
                    kept.setdefault(lane, {})[partition] = ascending[first:]
        return kept
