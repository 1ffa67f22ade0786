"""One batch becomes the tuples for a keyed bolt: each record to the task that owns its key's slot.

One tuple per downstream task, not per slot: the slots of a task travel together, and its records carry their keys.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import Any, NamedTuple

from stormline.core.batch import Batch, Rows, pieces
from stormline.core.slot import SLOTS, KeyColumn, owned_slots, owner_index, slots_of


class Broken(NamedTuple):
    """A record on which user code raised; nothing of its origin goes on."""

    offset: int
    value: Any
    error: Exception


class Split:
    """The way to one keyed bolt: its key, its number of tasks, and the slots that they share."""

    def __init__(self, stream: str, keys: KeyColumn, tasks: int, slots: int = SLOTS) -> None:
        self.stream = stream
        self.keys = keys
        self._tasks = tasks
        self._slots = slots
        self._owners = [owner_index(slot, tasks) for slot in range(slots)]
        self._first_slots = [owned_slots(index, tasks, slots)[0] for index in range(tasks)]

    def batches(self, lane: str, partition: str, rows: Rows, keys: list[str], attempt: int = 1) -> list[Batch]:
        """The tuples for these rows, in the order of the tasks; `keys` has one canonical text a row."""
        if self._tasks == 1:
            keyed = rows._replace(keys=keys)
            return [Batch(self._first_slots[0], lane, partition, keyed, attempt)] if keys else []
        owners = self._owners
        parts: list[list[int]] = [[] for _ in range(self._tasks)]
        for i, slot in enumerate(slots_of(keys, self._slots)):
            parts[owners[slot]].append(i)
        return [
            Batch(slot, lane, partition, rows._replace(keys=keys).at(part), attempt)
            for slot, part in zip(self._first_slots, parts, strict=True)
            if part
        ]


class Kept(NamedTuple):
    """What a stateless function left of a batch."""

    rows: Rows
    keys: list[list[str]]
    """One list a split, each with one canonical text a row."""
    dropped: int
    broken: list[Broken]

    def pieces(self) -> list[tuple[Rows, list[list[str]]]]:
        """Rows and keys, cut where a record broke."""
        if not self.broken:
            return [(self.rows, self.keys)]
        cuts = pieces(self.rows.offsets, [each.offset for each in self.broken])
        return [(self.rows.piece(cut), [column[cut] for column in self.keys]) for cut in cuts]


def keep(rows: Rows, predicate: Callable[[Any], Any] | None, splits: list[Split]) -> Kept:
    """The rows the predicate accepts (None: all), with their keys. User code is called here and nowhere else.

    All of an origin or none: a record whose predicate or key raises is broken, for every stream. If any raises, all
    are tried again, one by one.
    """
    try:
        return _keep_whole(rows, predicate, splits)
    except Exception:  # whatever user code raises
        return _keep_one_by_one(rows, predicate, splits)


def _keep_whole(rows: Rows, predicate: Callable[[Any], Any] | None, splits: list[Split]) -> Kept:
    kept = rows
    if predicate is not None:
        accepted = [predicate(value) for value in rows.values]
        columns = (rows.offsets, rows.times_ms, rows.values)
        kept = Rows(*(list(compress(column, accepted)) for column in columns))
    keys = [split.keys(kept.values) for split in splits]
    return Kept(kept, keys, len(rows.offsets) - len(kept.offsets), [])


def _keep_one_by_one(rows: Rows, predicate: Callable[[Any], Any] | None, splits: list[Split]) -> Kept:
    kept = Rows([], [], [])
    keys: list[list[str]] = [[] for _ in splits]
    dropped = 0
    broken: list[Broken] = []
    for offset, time_ms, value in zip(rows.offsets, rows.times_ms, rows.values, strict=True):
        try:
            if predicate is not None and not predicate(value):
                dropped += 1
                continue
            texts = [text for split in splits for text in split.keys((value,))]
        except Exception as error:  # this record is set aside and the batch goes on
            broken.append(Broken(offset, value, error))
            continue
        kept.offsets.append(offset)
        kept.times_ms.append(time_ms)
        kept.values.append(value)
        for column, text in zip(keys, texts, strict=True):
            column.append(text)
    return Kept(kept, keys, dropped, broken)
