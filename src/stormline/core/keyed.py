"""The rules of a keyed bolt's task (K1 to K6): what a record does to the slots it falls into, when windows close, what
a flush holds, and when a tuple may be acked.

Nothing here reads, writes or tells time: batches, progress and replies come in, effects go out. A record counts once
for each lane, whatever is replayed: below the floor or in the included ranges it is skipped. A tuple is acked after a
confirmed flush that began after it was applied, in every slot it touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import lt
from typing import Any, NamedTuple

from stormline.core.batch import Batch, Rows
from stormline.core.errors import Fenced, StateError
from stormline.core.included import Included
from stormline.core.keyed_slot import Flight, Held, KeyedSlot, One, Rules, Window
from stormline.core.progress import Progress, ProgressView
from stormline.core.requests import Applied, Flush, Loaded, Refused, WindowChange
from stormline.core.slot import SLOTS, slots_of
from stormline.core.window import Span

KEPT_LATE_RECORDS = 1000
NEVER = -(1 << 63)


class BrokenRecord(NamedTuple):
    """User code raised on it; nothing of its origin was counted."""

    offset: int
    value: Any
    error: Exception
    slot: int


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
        self._slots: dict[int, KeyedSlot] = {}
        self._included = Included()
        """What every slot includes besides its own: the tuples that this object applied whole."""
        self._own = False
        """Some slot may have ranges of its own: loaded ones, or of tuples with broken records."""
        self._latest_ms = NEVER
        """The highest watermark of any slot."""
        self._tables: dict[int, list[Window | None]] = {}
        """Start of a window -> the windows of that start by slot, as far as a record has looked for them."""

    def load(self, loaded: Loaded) -> None:
        """A slot as Redis has it; from now on this task is its owner (K1)."""
        slot = KeyedSlot(loaded.sequence, Included(loaded.included), loaded.watermark_ms, loaded.late)
        read = self.rules.aggregation.read
        for w in loaded.windows:
            window = Window(Span(w.start_ms, w.end_ms), w.final, w.revision, changed=False)
            window.rows = {key: read(w.results.get(key), w.states.get(key)) for key in w.results | w.states}
            if self.rules.trigger is not None:
                window.fired = set(w.results)
            slot.windows[w.start_ms] = window
        self._own |= bool(loaded.included)
        self._slots[loaded.slot] = slot
        self._latest_ms = max(self._latest_ms, NEVER if slot.watermark_ms is None else slot.watermark_ms)
        self.view.raise_floor(loaded.floor)

    def apply(self, batch: Batch, held: Held) -> list[BrokenRecord]:
        """Count a batch (K2). The caller acks `held.tup` at once if `held.waits` is 0 afterwards.

        Each broken record adds one to `held.waits`: it is released once the record is safe in the dead-letter topic.
        """
        rows = batch.records
        assert rows.keys is not None
        slots = slots_of(rows.keys)
        touched = {number: self._slots[number] for number in set(slots)}
        broken = (self._count_fresh if self._fresh(batch, slots) else self._count_origins)(batch, slots)
        self._include(batch, slots, broken)
        for slot in touched.values():
            if slot.dirty:
                slot.held.append(held)
                held.waits += 1
            elif slot.flight is not None:
                slot.flight.held.append(held)
                held.waits += 1
        held.waits += len(broken)
        return broken

    def _fresh(self, batch: Batch, slots: list[int]) -> bool:
        """Each record is an origin of its own, no slot includes one of them, and none is below the floor."""
        lane, partition, offsets = batch.lane, batch.partition, batch.records.offsets
        if not partition or not offsets or self.rules.trigger is not None:
            return False
        if offsets[0] < self.view.floor.get(partition, 0) or not all(map(lt, offsets, offsets[1:])):
            return False
        place = lane, partition, offsets[0], offsets[-1]
        if self._included.touches(*place):
            return False
        return not self._own or not any(self._slots[number].included.touches(*place) for number in set(slots))

    def _include(self, batch: Batch, slots: list[int], broken: list[BrokenRecord]) -> None:
        """What was counted now or before counts no more. Without a partition there is no origin to remember."""
        lane, partition, offsets = batch.lane, batch.partition, batch.records.offsets
        if not partition or not offsets:
            return
        if not broken:
            self._included.add(lane, partition, offsets[0], offsets[-1])
            return
        self._own = True
        bad = {(each.offset, each.slot) for each in broken}
        for offset, number in zip(offsets, slots, strict=True):
            if (offset, number) not in bad:
                self._slots[number].included.add(lane, partition, offset, offset)

    def _count_fresh(self, batch: Batch, slots: list[int]) -> list[BrokenRecord]:
        """What `_count_origins` does, for a fresh batch: this is what runs for nearly every record."""
        rows, state_of, latest_ms = batch.records, self._slots, self._latest_ms
        add, span = self.rules.aggregation.add, self.rules.windower.span
        tally = Counter(slots)
        broken: list[BrokenRecord] = []
        start_ms = end_ms = 0
        table: list[Window | None] = []
        todo = zip(rows.offsets, rows.times_ms, rows.values, rows.keys or (), slots, strict=True)
        while True:
            try:
                for offset, time_ms, value, key, number in todo:
                    if not start_ms <= time_ms < end_ms:
                        start_ms, end_ms = span(time_ms)
                        table = self._tables.get(start_ms) or self._tables.setdefault(start_ms, [None] * SLOTS)
                    window = table[number]
                    if window is None or end_ms <= latest_ms:  # it opens, or may be final or late
                        slot = state_of[number]
                        if not slot.count(self.rules, batch.partition, One(offset, time_ms, value, key), None):
                            slot.counted -= 1  # it is in the tally
                        table[number] = slot.windows.get(start_ms)
                    else:  # user code comes first: if it raises, this record has changed nothing
                        states = window.rows
                        states[key] = add(states.get(key), value)
                        window.dirty.add(key)
                break
            except Exception as error:  # as below; the loop goes on behind the broken record
                broken.append(BrokenRecord(offset, value, error, number))
                tally[number] -= 1
        for number, count in tally.items():
            if count:
                state_of[number].counted += count
                state_of[number].dirty = True
        self.unflushed += len(slots) - len(broken)
        return broken

    def _count_origins(self, batch: Batch, slots: list[int]) -> list[BrokenRecord]:
        """Origin by origin: what is included is skipped, and all outputs of an origin for a slot count or none."""
        lane, partition, rows = batch.lane, batch.partition, batch.records
        floor = self.view.floor.get(partition, 0)
        broken: list[BrokenRecord] = []
        for (offset, number), outputs in _origins(rows, slots).items():
            slot = self._slots[number]
            known = self._included.has(lane, partition, offset) or slot.included.has(lane, partition, offset)
            if offset < floor or known:
                self.skipped += len(outputs)
                continue
            try:
                slot.counted += slot.count_together(self.rules, batch.partition, outputs)
            except Exception as error:  # user code may raise anything; what it raised on is set aside whole
                broken.append(BrokenRecord(offset, outputs[0].value, error, number))
                continue
            slot.dirty = True
            self.unflushed += len(outputs)
        return broken

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
                self._latest_ms = max(self._latest_ms, mark)
                self._close(slot, mark)

    def _close(self, slot: KeyedSlot, watermark_ms: int) -> None:
        for window in slot.windows.values():
            if not window.final and watermark_ms >= window.span.end_ms:
                window.final = window.changed = slot.dirty = True
            if not window.forgotten and watermark_ms >= window.span.end_ms + self.rules.allowed_lateness_ms:
                window.forgotten = window.changed = slot.dirty = True

    def flush(self) -> list[Flush]:
        """One flush for each slot with changes and none on its way (K4): absolute values, one sequence higher."""
        self.unflushed = 0
        self._included.prune(self.view.floor)
        if self._own:
            for slot in self._slots.values():
                slot.included.prune(self.view.floor)
            self._own = any(slot.included for slot in self._slots.values())
        return [self._begin(n, slot) for n, slot in self._slots.items() if slot.dirty and slot.flight is None]

    def _begin(self, number: int, slot: KeyedSlot) -> Flush:
        slot.sequence += 1
        slot.dirty = False
        flight = slot.flight = Flight(slot.held, {}, set(slot.late_records), slot.counted)
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
            slot.included.with_those_of(self._included),
            slot.watermark_ms,
            slot.late,
            {number % KEPT_LATE_RECORDS: record for number, record in slot.late_records.items()},
            changes,
        )

    def _change(self, window: Window) -> WindowChange:
        if window.revised:
            window.revision += 1
            window.revised = False
        aggregation, trigger = self.rules.aggregation, self.rules.trigger
        rows = {key: window.rows[key] for key in window.dirty if key in window.rows}
        states: dict[str, str] = {}
        if trigger is not None or aggregation.needs_state:
            states = aggregation.write_states(rows)
        if trigger is not None:
            rows = {key: row for key, row in rows.items() if key in window.fired}
        return WindowChange(
            self.rules.windower.name,
            window.span.start_ms,
            window.span.end_ms,
            window.final,
            window.revision,
            aggregation.write_results(rows),
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
                self._tables.clear()
        return [held.tup for held in flight.held if held.release()]

    def _restore(self, slot: KeyedSlot, flight: Flight) -> None:
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


def _origins(rows: Rows, slots: Sequence[int]) -> dict[tuple[int, int], list[One]]:
    """(Offset, slot) -> the outputs of one record for one slot: they count together."""
    origins: dict[tuple[int, int], list[One]] = {}
    columns = zip(rows.offsets, rows.times_ms, rows.values, rows.keys or (), strict=True)
    for slot, one in zip(slots, map(One._make, columns), strict=True):
        origins.setdefault((one.offset, slot), []).append(one)
    return origins
