"""The records of a batch by where they came from: all outputs of one origin for one slot count together, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from stormline.core.batch import Rows
from stormline.core.table import Row


class BrokenRecord(NamedTuple):
    """User code raised on it; nothing of its origin was counted."""

    offset: int
    value: Any
    error: Exception
    slot: int


class Raised(Exception):
    """User code raised on a record."""

    def __init__(self, broken: BrokenRecord) -> None:
        super().__init__(broken.offset)
        self.broken = broken


def origins(rows: Rows, slots: Sequence[int]) -> dict[tuple[int, int], list[Row]]:
    """(Offset, slot) -> the outputs of one record for one slot: they count together."""
    found: dict[tuple[int, int], list[Row]] = {}
    columns = zip(rows.offsets, rows.times_ms, rows.values, rows.keys or (), strict=True)
    for slot, row in zip(slots, columns, strict=True):
        found.setdefault((row[0], slot), []).append(row)
    return found
