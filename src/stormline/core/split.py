"""One batch becomes the tuples for a keyed bolt: each record to the task that owns its key's slot.

One tuple per downstream task, not per slot: the slots of a task travel together, and its records carry their keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from stormline.core.batch import Batch, Rows
from stormline.core.slot import owned_slots, owner_index, slot_of


class Broken(NamedTuple):
    """A record on which user code raised; nothing of its origin goes on."""

    offset: int
    value: Any
    error: Exception


class Split:
    """The way to one keyed bolt: its key and its number of tasks."""

    def __init__(self, stream: str, key: Callable[[Any], str], tasks: int) -> None:
        self.stream = stream
        self.key = key
        self._tasks = tasks
        self._first_slots = [owned_slots(index, tasks)[0] for index in range(tasks)]

    def batches(self, lane: str, partition: str, rows: Rows, keys: list[str]) -> list[Batch]:
        """The tuples for these rows, in the order of the tasks; `keys` has one canonical text a row."""
        if self._tasks == 1:
            keyed = rows._replace(keys=keys)
            return [Batch(self._first_slots[0], lane, partition, keyed)] if keys else []
        parts = [Rows([], [], [], []) for _ in range(self._tasks)]
        for offset, time_ms, value, key in zip(rows.offsets, rows.times_ms, rows.values, keys, strict=True):
            offsets, times_ms, values, part_keys = parts[owner_index(slot_of(key), self._tasks)]
            offsets.append(offset)
            times_ms.append(time_ms)
            values.append(value)
            part_keys.append(key)  # type: ignore[union-attr]
        return [
            Batch(slot, lane, partition, part)
            for slot, part in zip(self._first_slots, parts, strict=True)
            if part.offsets
        ]


class Kept(NamedTuple):
    """What a stateless function left of a batch."""

    rows: Rows
    keys: list[list[str]]
    """One list a split, each with one canonical text a row."""
    dropped: int
    broken: list[Broken]


def keep(rows: Rows, predicate: Callable[[Any], Any] | None, splits: list[Split]) -> Kept:
    """The rows the predicate accepts (None: all), with their keys. User code is called here and nowhere else.

    All of an origin or none: a record whose predicate or key raises is broken, for every stream.
    """
    kept = Rows([], [], [])
    keys: list[list[str]] = [[] for _ in splits]
    dropped = 0
    broken: list[Broken] = []
    functions = [split.key for split in splits]
    for offset, time_ms, value in zip(rows.offsets, rows.times_ms, rows.values, strict=True):
        try:
            if predicate is not None and not predicate(value):
                dropped += 1
                continue
            texts = [function(value) for function in functions]
        except Exception as error:  # whatever user code raises, this record is set aside and the batch goes on
            broken.append(Broken(offset, value, error))
            continue
        kept.offsets.append(offset)
        kept.times_ms.append(time_ms)
        kept.values.append(value)
        for column, key in zip(keys, texts, strict=True):
            column.append(key)
    return Kept(kept, keys, dropped, broken)
