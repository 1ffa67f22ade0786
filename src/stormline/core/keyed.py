"""The rules of a keyed bolt's task (K1 to K6): what a record does to the slots it falls into, when windows close, what
a flush holds, and when a tuple may be acked.

Nothing here reads, writes or tells time: batches, progress and replies come in, effects go out. A record counts once
for each lane, whatever is replayed: below the floor or in the included offsets it is skipped. A tuple is acked after a
confirmed flush that began after it was applied, in every slot it touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import msgspec

from stormline.core.aggregate import Accumulators, Aggregation
from stormline.core.batch import Batch
from stormline.core.errors import Fenced, StateError
from stormline.core.included import Included
from stormline.core.progress import Progress, ProgressView
from stormline.core.requests import Applied, Flush, Loaded, Refused, WindowChange
from stormline.core.slot import key_value, slot_of
from stormline.core.window import Span, Windower

KEPT_LATE_RECORDS = 1000


class Rules(NamedTuple):
    """What the user's settings of a keyed bolt come to."""

    component: str
    windower: Windower
    aggregation: Aggregation
    allowed_lateness_ms: int = 0
    trigger: Callable[[Any], bool] | None = None
    """With a trigger, a key's result appears once the trigger has held for it, and is kept up to date from then on."""


class BrokenRecord(NamedTuple):
    """User code raised on it; nothing of its origin was counted."""

    offset: int
    value: Any
    error: Exception


class Held:
    """A tuple that waits: for the flushes of its slots, and for its broken records to be safe elsewhere."""

    def __init__(self, tup: Any) -> None:
        self.tup = tup
        self.waits = 0

    def release(self) -> bool:
        """One thing less to wait for; True if that was the last and the tuple is to be acked."""
        self.waits -= 1
        return self.waits == 0


@dataclass(slots=True)
class _Window:
    span: Span
    final: bool = False
    revision: int = 0
    rows: dict[str, Accumulators] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)
    """Keys for which the trigger has held."""
    dirty: set[str] = field(default_factory=set)
    changed: bool = True
    """Its entry in the index is to be written."""
    revised: bool = False
    """A record was counted after the window was final, and no flush has said so yet."""
    forgotten: bool = False
    """Past its lateness: it leaves the memory once that is flushed."""


@dataclass(slots=True)
class _Flight:
    """A flush on its way: what goes back to dirty if it does not arrive."""

    held: list[Held]
    dirty: dict[int, set[str]]
    late: set[int]
    counted: int


@dataclass(slots=True)
class _Slot:
    sequence: int
    included: Included
    watermark_ms: int | None
    late: int
    windows: dict[int, _Window] = field(default_factory=dict)
    late_records: dict[int, bytes] = field(default_factory=dict)
    counted: int = 0
    """Records counted since the last flush was begun."""
    dirty: bool = False
    held: list[Held] = field(default_factory=list)
    flight: _Flight | None = None


class KeyedState:
    """All slots of one task. `owner` is the random token under which this task owns them."""

    def __init__(self, rules: Rules, owner: str, view: ProgressView) -> None:
        self.rules = rules
        self.owner = owner
        self.view = view
        self.counted = self.late = 0
        """Records that confirmed flushes of this object hold."""
        self.skipped = 0
        """Records that came again."""
        self.unflushed = 0
        """Records counted since the last flush was begun."""
        self._slots: dict[int, _Slot] = {}

    def load(self, loaded: Loaded) -> None:
        """A slot as Redis has it; from now on this task is its owner (K1)."""
        slot = _Slot(loaded.sequence, Included(loaded.included), loaded.watermark_ms, loaded.late)
        read = self.rules.aggregation.read
        for w in loaded.windows:
            window = _Window(Span(w.start_ms, w.end_ms), w.final, w.revision, changed=False)
            window.rows = {key: read(w.results.get(key), w.states.get(key)) for key in w.results | w.states}
            if self.rules.trigger is not None:
                window.fired = set(w.results)
            slot.windows[w.start_ms] = window
        self._slots[loaded.slot] = slot
        self.view.raise_floor(loaded.floor)

    def apply(self, batch: Batch, held: Held) -> list[BrokenRecord]:
        """Count a batch (K2). The caller acks `held.tup` at once if `held.waits` is 0 afterwards.

        Each broken record adds one to `held.waits`: it is released once the record is safe in the dead-letter topic.
        """
        lane, partition, rows = batch.lane, batch.partition, batch.records
        assert rows.keys is not None
        floor = self.view.floor.get(partition, 0)
        touched: dict[int, set[int]] = {}
        broken: list[BrokenRecord] = []
        at = 0
        for number, indices in _origins(rows.offsets, rows.keys):
            slot = self._slots[number]
            included = touched.get(number)
            if included is None:
                # Without a partition there is no origin to remember: such records are counted whenever they come.
                included = touched[number] = slot.included.of(lane, partition) if partition else set()
            offset = rows.offsets[indices[0]]
            if offset < floor or offset in included:
                self.skipped += len(indices)
                continue
            try:
                if len(indices) == 1:
                    self._count(slot, batch, indices[0], None)
                else:
                    self._count_together(slot, batch, indices)
            except Exception as error:  # user code may raise anything; what it raised on is set aside whole
                broken.append(BrokenRecord(offset, rows.values[indices[0]], error))
                continue
            included.add(offset)
            slot.dirty = True
            at += len(indices)
        self.unflushed += at
        for number in touched:
            slot = self._slots[number]
            if slot.dirty:
                slot.held.append(held)
                held.waits += 1
            elif slot.flight is not None:
                slot.flight.held.append(held)
                held.waits += 1
        held.waits += len(broken)
        return broken

    def _count_together(self, slot: _Slot, batch: Batch, indices: Sequence[int]) -> None:
        """All outputs of one origin for one slot, or none if user code raises."""
        undo: list[Callable[[], object]] = []
        try:
            for i in indices:
                self._count(slot, batch, i, undo)
        except Exception:
            for step in reversed(undo):
                step()
            raise

    def _count(self, slot: _Slot, batch: Batch, i: int, undo: list[Callable[[], object]] | None) -> None:
        """User code comes first: if it raises, this record has changed nothing."""
        rules, rows, watermark_ms = self.rules, batch.records, slot.watermark_ms
        key: str = rows.keys[i]  # type: ignore[index]
        span = rules.windower.span(rows.times_ms[i])
        if watermark_ms is not None and watermark_ms >= span.end_ms + rules.allowed_lateness_ms:
            self._keep_late(slot, batch, i)
            if undo is not None:
                undo.append(partial(self._forget_late, slot))
            return
        window = slot.windows.get(span.start_ms)
        before = None if window is None else window.rows.get(key)
        after = rules.aggregation.add(before, rows.values[i])
        fires = rules.trigger is not None and (window is None or key not in window.fired)
        if fires and rules.trigger is not None:
            fires = bool(rules.trigger(rules.aggregation.result(after)))
        if window is None:
            closed = watermark_ms is not None and watermark_ms >= span.end_ms
            window = slot.windows[span.start_ms] = _Window(span, final=closed)
        elif window.final:
            window.revised = True
        if fires:
            window.fired.add(key)
        window.rows[key] = after
        window.dirty.add(key)
        slot.counted += 1
        if undo is not None:
            undo.append(partial(self._uncount, slot, window, key, before, fires))

    def _uncount(self, slot: _Slot, window: _Window, key: str, before: Accumulators | None, fired: bool) -> None:
        if fired:
            window.fired.discard(key)
        if before is None:
            del window.rows[key]
        else:
            window.rows[key] = before
        slot.counted -= 1

    def _keep_late(self, slot: _Slot, batch: Batch, i: int) -> None:
        rows = batch.records
        slot.late_records[slot.late] = msgspec.json.encode(
            {
                "number": slot.late,
                "key": key_value(rows.keys[i]),  # type: ignore[index]
                "time_ms": rows.times_ms[i],
                "partition": batch.partition,
                "offset": rows.offsets[i],
                "record": rows.values[i],
            }
        )
        slot.late += 1

    def _forget_late(self, slot: _Slot) -> None:
        slot.late -= 1
        del slot.late_records[slot.late]

    def observe(self, progress: Progress) -> None:
        """Hear a spout task; windows that its claim completes are closed (K5, K6)."""
        self.view.observe(progress)
        watermark_ms, quiet = self.view.watermark_ms, self.view.quiet
        if watermark_ms is None and not quiet:
            return
        for slot in self._slots.values():
            mark = watermark_ms
            if quiet:
                # A number, not infinity: the next run goes on from here.
                ends = [w.span.end_ms + self.rules.allowed_lateness_ms for w in slot.windows.values()]
                mark = max(ends, default=slot.watermark_ms)
            if mark is not None and (slot.watermark_ms is None or mark > slot.watermark_ms):
                slot.watermark_ms = mark
                self._close(slot, mark)

    def _close(self, slot: _Slot, watermark_ms: int) -> None:
        for window in slot.windows.values():
            if not window.final and watermark_ms >= window.span.end_ms:
                window.final = window.changed = slot.dirty = True
            if not window.forgotten and watermark_ms >= window.span.end_ms + self.rules.allowed_lateness_ms:
                window.forgotten = window.changed = slot.dirty = True

    def flush(self) -> list[Flush]:
        """One flush for each slot with changes and none on its way (K4): absolute values, one sequence higher."""
        self.unflushed = 0
        return [self._begin(n, slot) for n, slot in self._slots.items() if slot.dirty and slot.flight is None]

    def _begin(self, number: int, slot: _Slot) -> Flush:
        slot.sequence += 1
        slot.dirty = False
        flight = slot.flight = _Flight(slot.held, {}, set(slot.late_records), slot.counted)
        slot.held, slot.counted = [], 0
        changes = []
        for start_ms, window in slot.windows.items():
            if window.changed or window.dirty:
                changes.append(self._change(window))
                flight.dirty[start_ms] = window.dirty
                window.dirty, window.changed = set(), False
        return Flush(
            self.rules.component,
            number,
            self.owner,
            slot.sequence,
            dict(self.view.floor),
            slot.included.prune(self.view.floor),
            slot.watermark_ms,
            slot.late,
            {number % KEPT_LATE_RECORDS: record for number, record in slot.late_records.items()},
            changes,
        )

    def _change(self, window: _Window) -> WindowChange:
        if window.revised:
            window.revision += 1
            window.revised = False
        aggregation, trigger = self.rules.aggregation, self.rules.trigger
        rows = {key: window.rows[key] for key in window.dirty if key in window.rows}
        states: dict[str, bytes] = {}
        if trigger is not None or aggregation.needs_state:
            states = {key: aggregation.write_state(row) for key, row in rows.items()}
        results = {
            key: aggregation.write_result(row) for key, row in rows.items() if trigger is None or key in window.fired
        }
        return WindowChange(
            self.rules.windower.name,
            window.span.start_ms,
            window.span.end_ms,
            window.final,
            window.revision,
            results,
            states,
            window.forgotten,
        )

    def flushed(self, number: int, reply: object) -> list[Any]:
        """The answer to a slot's flush; the tuples to ack now (K3).

        Raises:
            Fenced: another task owns the slot; this one must end and ack nothing.
            StateError: the app is halted.
        """
        slot = self._slots[number]
        flight, slot.flight = slot.flight, None
        assert flight is not None
        if isinstance(reply, Refused):
            raise (StateError if reply.halted else Fenced)(reply.why)
        if not isinstance(reply, Applied):
            self._restore(slot, flight)
            return []
        self.counted += flight.counted
        self.late += len(flight.late)
        for late in flight.late:
            slot.late_records.pop(late, None)
        for start_ms in flight.dirty:
            window = slot.windows[start_ms]
            if window.forgotten and not window.changed and not window.dirty:
                del slot.windows[start_ms]
        return [held.tup for held in flight.held if held.release()]

    def _restore(self, slot: _Slot, flight: _Flight) -> None:
        """The outcome is unknown: all of it stays dirty and goes out again with the next sequence."""
        slot.dirty = True
        slot.held = flight.held + slot.held
        slot.counted += flight.counted
        for start_ms, keys in flight.dirty.items():
            window = slot.windows[start_ms]
            window.dirty |= keys
            window.changed = True

    def held(self) -> Iterable[Held]:
        """All tuples that wait for a flush."""
        for slot in self._slots.values():
            yield from slot.held
            yield from slot.flight.held if slot.flight is not None else ()

    @property
    def dirty(self) -> bool:
        """Something is to be flushed that is not on its way."""
        return any(slot.dirty for slot in self._slots.values())

    @property
    def flying(self) -> bool:
        """A flush is on its way."""
        return any(slot.flight is not None for slot in self._slots.values())

    @property
    def open_windows(self) -> int:
        """Windows that are not final yet."""
        return len({w.span for slot in self._slots.values() for w in slot.windows.values() if not w.final})

    @property
    def watermark_ms(self) -> int | None:
        """The watermark by the claims heard; None before a claim for each partition was heard."""
        return self.view.watermark_ms


def _origins(offsets: list[int], keys: list[str]) -> Iterable[tuple[int, Sequence[int]]]:
    """(slot, indices) for each origin and slot: the outputs of one record for one slot count together."""
    if len(set(offsets)) == len(offsets):
        return [(slot_of(key), (i,)) for i, key in enumerate(keys)]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (offset, key) in enumerate(zip(offsets, keys, strict=True)):
        groups.setdefault((offset, slot_of(key)), []).append(i)
    return [(slot, indices) for (_, slot), indices in groups.items()]
