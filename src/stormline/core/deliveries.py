"""Which outputs went out anchored to which progress tuple, and which of them are known to have arrived (K7).

A bolt is never told that what it emitted was acked; the spout is, and says so in later progress.
"""

from __future__ import annotations

from collections.abc import Iterable

from stormline.core.progress import Progress

Numbers = dict[int, list[int]]
"""Slot -> numbers of its outputs."""


class Deliveries:
    """Outputs under way."""

    def __init__(self) -> None:
        self._under: dict[tuple[str, int], tuple[str, dict[int, Numbers]]] = {}
        """(Spout, task) -> its incarnation, and sequence of a progress tuple -> what is anchored to it."""

    def sent(self, progress: Progress, outputs: Numbers) -> None:
        """These were emitted anchored to this progress tuple."""
        _, under = self._under[progress.spout, progress.task]
        known = under.setdefault(progress.sequence, {})  # the same progress may come twice
        for slot, numbers in outputs.items():
            known[slot] = [*known.get(slot, ()), *numbers]

    def hear(self, progress: Progress) -> tuple[list[Numbers], list[Numbers]]:
        """(What has arrived, what is to be sent again) by what this progress says."""
        place = progress.spout, progress.task
        incarnation, under = self._under.setdefault(place, (progress.incarnation, {}))
        lost: list[Numbers] = []
        if incarnation != progress.incarnation:  # whoever could tell of these is gone
            lost += under.values()
            under = {}
            self._under[place] = progress.incarnation, under
        arrived = _taken(under, progress.acked)
        over = [sequence for sequence in under if sequence < progress.forgotten]
        return arrived, lost + _taken(under, progress.failed) + _taken(under, over)


def _taken(under: dict[int, Numbers], sequences: Iterable[int]) -> list[Numbers]:
    return [under.pop(sequence) for sequence in sequences if sequence in under]
