"""The rules of a keyed bolt's task (K1 to K7): what a record does to the slots it falls into, when windows close, what
a flush holds, when a tuple may be acked, and what is sent on.

Nothing here reads, writes or tells time: batches, progress and replies come in, effects go out. A record counts once
for each lane, whatever is replayed: below the floor or in the included ranges it is skipped. A tuple is acked after a
confirmed flush that began after it was applied, in every slot it touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from operator import lt
from typing import Any

from stormline.core.aligned import Aligned
from stormline.core.batch import Batch
from stormline.core.cells import Cells
from stormline.core.deliveries import Deliveries
from stormline.core.errors import Fenced, StateError
from stormline.core.included import Included
from stormline.core.keyed_slot import Flight, Held, KeyedSlot
from stormline.core.origins import BrokenRecord, Raised, origins
from stormline.core.outbox import Fault, raw
from stormline.core.progress import Progress, ProgressView
from stormline.core.requests import Applied, Flush, Loaded, Refused
from stormline.core.sliding import SlidingWindows
from stormline.core.slot import slots_of
from stormline.core.table import Row, Rules, Window

KEPT_LATE_RECORDS = 1000
NEVER = -(1 << 63)
FLUSHED_AT_ONCE = 10_000
"""Rows; some 20 ms of work."""
AN_OUTPUT = 4
"""What is sent on is as much work as so many rows."""


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
        self.faults: list[Fault] = []
        """What user code raised where no record is to blame; whoever takes them empties the list."""
        self._slots: dict[int, KeyedSlot] = {}
        self._included = Included()
        """What every slot includes besides its own: the tuples that this object applied whole."""
        self._own = False
        """Some slot may have ranges of its own: loaded ones, or of tuples with broken records."""
        self.latest_ms = NEVER
        """The highest watermark of any slot."""
        self._tables: dict[int, list[Window | None]] = {}
        """Start of a window -> the windows of that start by slot, as far as a record has looked for them."""
        self._deliveries = Deliveries()
        self._clock_ms: int | None = None
        plain = rules.trigger is None and not rules.aggregation.needs_place and len(rules.windowers) == 1
        self._quick = plain and hasattr(rules.windowers[0], "span")
        """A record is one look into a window that is the same for all keys, and one `add`."""

    def load(self, loaded: Loaded) -> None:
        """A slot as Redis has it; from now on this task is its owner (K1)."""
        slot = KeyedSlot.loaded(loaded, self.rules)
        self._own |= bool(loaded.included)
        self._slots[loaded.slot] = slot
        self.latest_ms = max(self.latest_ms, NEVER if slot.watermark_ms is None else slot.watermark_ms)
        self.view.raise_floor(loaded.floor)

    def apply(self, batch: Batch, held: Held) -> list[BrokenRecord]:
        """Count a batch (K2). The caller acks `held.tup` at once if `held.waits` is 0 afterwards.

        Each broken record adds one to `held.waits`: it is released once the record is safe in the dead-letter topic.
        """
        rows = batch.records
        assert rows.keys is not None
        slots = slots_of(rows.keys, self.rules.slots)
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
        if not partition or not offsets or len(self.rules.windowers) > 1:
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
        rows, tally, broken = batch.records, Counter(slots), list[BrokenRecord]()
        columns = rows.offsets, rows.times_ms, rows.values, rows.keys or ()
        quickly = zip(*columns, slots, strict=True)
        each = zip(zip(*columns, strict=True), slots, strict=True)
        while True:
            try:
                if self._quick:
                    self._count_quickly(batch.partition, quickly)
                else:
                    self._count_each(batch.partition, each)
                break
            except Raised as raised:  # the loop goes on behind the broken record
                broken.append(raised.broken)
                tally[raised.broken.slot] -= 1
        for number, counted in tally.items():
            if counted:
                self._slots[number].counted += counted
                self._slots[number].dirty = True
        self.unflushed += len(slots) - len(broken)
        return broken

    def _count_quickly(self, partition: str, todo: Iterator[tuple[int, int, Any, str, int]]) -> None:
        """Raises Raised with the record on which user code raised."""
        state_of, latest_ms, add = self._slots, self.latest_ms, self.rules.aggregation.add
        grid = next(iter(state_of.values())).tables[0]
        assert isinstance(grid, Aligned | SlidingWindows)
        span = grid.span
        start_ms = end_ms = 0
        table: list[Window | None] = []
        for offset, time_ms, value, key, number in todo:
            try:
                if not start_ms <= time_ms < end_ms:
                    start_ms, end_ms = span(time_ms)
                    table = self._tables.get(start_ms) or self._tables.setdefault(start_ms, [None] * self.rules.slots)
                window = table[number]
                if window is None or end_ms <= latest_ms:  # it opens, or may be final or late
                    slot = state_of[number]
                    if not slot.count(self.rules, partition, (offset, time_ms, value, key), None):
                        slot.counted -= 1  # it is in the tally
                    table[number] = slot.tables[0].windows.get(start_ms)  # type: ignore[attr-defined]
                else:  # user code comes first: if it raises, this record has changed nothing
                    states = window.rows
                    states[key] = add(states.get(key), value)
                    window.dirty.add(key)
            except Exception as error:  # as in `_count_origins`
                raise Raised(BrokenRecord(offset, value, error, number)) from error

    def _count_each(self, partition: str, todo: Iterator[tuple[Row, int]]) -> None:
        """Raises as `_count_quickly` does."""
        state_of, rules = self._slots, self.rules
        for row, number in todo:
            slot = state_of[number]
            try:
                if not slot.count(rules, partition, row, None):
                    slot.counted -= 1
            except Exception as error:
                raise Raised(BrokenRecord(row[0], row[2], error, number)) from error

    def _count_origins(self, batch: Batch, slots: list[int]) -> list[BrokenRecord]:
        """Origin by origin: what is included is skipped, and all outputs of an origin for a slot count or none."""
        lane, partition, rows = batch.lane, batch.partition, batch.records
        floor = self.view.floor.get(partition, 0)
        broken: list[BrokenRecord] = []
        for (offset, number), outputs in origins(rows, slots).items():
            slot = self._slots[number]
            known = self._included.has(lane, partition, offset) or slot.included.has(lane, partition, offset)
            if offset < floor or known:
                self.skipped += len(outputs)
                continue
            try:
                slot.counted += slot.count_together(self.rules, batch.partition, outputs)
            except Exception as error:  # user code may raise anything; what it raised on is set aside whole
                broken.append(BrokenRecord(offset, outputs[0][2], error, number))
                continue
            slot.dirty = True
            self.unflushed += len(outputs)
        return broken

    def observe(self, progress: Progress) -> None:
        """Hear a spout task; windows that its claim completes are closed (K5, K6)."""
        self.view.observe(progress)
        arrived, lost = self._deliveries.hear(progress)
        for numbers in arrived:
            for number, outputs in numbers.items():
                self._slots[number].outbox.arrived(outputs)
                self._slots[number].dirty = True
        for numbers in lost:
            for number, outputs in numbers.items():
                self._slots[number].outbox.lost(outputs)
        if not self.rules.processing_time:
            self._advance(self.view.watermark_ms, self.view.quiet)

    def on_clock(self, now_ms: int) -> None:
        """Wall time is `now_ms`: for windows by processing time it is the watermark."""
        before_ms, self._clock_ms = self._clock_ms, now_ms
        if self.rules.processing_time:
            self._advance(now_ms, quiet=False)
        for slot in self._slots.values():
            self._send_unsent(slot, before_ms, now_ms, self.rules.wall_period_ms)
            for table in slot.tables:
                if isinstance(table, Cells):
                    slot.dirty |= table.on_clock(now_ms, slot.outbox)

    def _advance(self, watermark_ms: int | None, quiet: bool) -> None:
        if watermark_ms is None and not quiet:
            return
        for slot in self._slots.values():
            mark = watermark_ms
            if quiet:
                # A number, not infinity: the next run goes on from here.
                ends = [table.last_end_ms for table in slot.tables]
                known = [end_ms + self.rules.allowed_lateness_ms for end_ms in ends if end_ms is not None]
                mark = max(known, default=slot.watermark_ms)
            before_ms = slot.watermark_ms
            if mark is not None and (before_ms is None or mark > before_ms):
                slot.watermark_ms = mark
                self.latest_ms = max(self.latest_ms, mark)
            if slot.watermark_ms is None:
                continue
            for table in slot.tables:  # also where it stands still: a timer may have been set for what is past
                slot.dirty |= table.close(slot.watermark_ms, slot.outbox)
            self._send_unsent(slot, before_ms, slot.watermark_ms, self.rules.event_period_ms)

    def _send_unsent(self, slot: KeyedSlot, before_ms: int | None, now_ms: int, period_ms: int) -> None:
        """A trigger by time fires when a multiple of its period is passed."""
        if period_ms and before_ms is not None and before_ms // period_ms < now_ms // period_ms:
            for table in slot.tables:
                slot.dirty |= table.send_unsent(slot.outbox)

    def flush(self, now_ms: int = 0, at_most: int = FLUSHED_AT_ONCE) -> list[Flush]:
        """One flush for each slot with changes and none on its way (K4): absolute values, one sequence higher.

        No more slots are begun once `at_most` rows are to be written, so that the caller can do other things in
        between; `dirty` then says that there is more.
        """
        self.unflushed = 0
        self._included.prune(self.view.floor)
        if self._own:
            for slot in self._slots.values():
                slot.included.prune(self.view.floor)
            self._own = any(slot.included for slot in self._slots.values())
        flushes: list[Flush] = []
        rows = 0
        for number, slot in self._slots.items():
            if rows >= at_most:
                break
            if slot.dirty and slot.flight is None:
                flushes.append(self._begin(number, slot, now_ms))
                rows += sum(len(change.results) for change in flushes[-1].windows)
                rows += AN_OUTPUT * len(flushes[-1].outputs)
        return flushes

    def _begin(self, number: int, slot: KeyedSlot, now_ms: int) -> Flush:
        slot.sequence += 1
        slot.dirty = False
        changes = [*slot.unconfirmed]  # a list of its own: an earlier flush with these may be on its way still
        slot.unconfirmed = []
        for table in slot.tables:
            changes += table.take(slot.outbox, slot.watermark_ms)
        if any(change.stage in ("done", "gone") for change in changes):
            self._tables.clear()
        self.faults += slot.outbox.faults
        slot.outbox.faults = []
        outputs, delivered = slot.outbox.take()
        slot.flight = Flight(slot.held, changes, set(slot.late_records), slot.counted, outputs, delivered)
        slot.held, slot.counted = [], 0
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
            {number: raw(output) for number, output in outputs.items()},
            delivered,
            slot.outbox.next_number,
            now_ms,
            self.rules.keep_ms,
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
        if not isinstance(reply, Applied):  # the outcome is unknown: all of it goes out again, with the next sequence
            slot.dirty = True
            slot.held = flight.held + slot.held
            slot.counted += flight.counted
            slot.unconfirmed = flight.changes
            slot.outbox.restore(flight.outputs, flight.delivered)
            return []
        self.counted += flight.counted
        self.late += len(flight.late)
        for late in flight.late:
            slot.late_records.pop(late, None)
        slot.outbox.stored(flight.outputs)
        return [held.tup for held in flight.held if held.release()]

    def send(self, progress: Progress | None) -> list[tuple[str, list[Any]]]:
        """(Stream, values) of what is to be emitted now, anchored to this progress tuple, which was observed before.

        None: no spout above tells progress. What is sent is then taken for delivered.
        """
        outputs: list[tuple[str, list[Any]]] = []
        numbers: dict[int, list[int]] = {}
        for number, slot in self._slots.items():
            if slot.outbox.due:
                due = slot.outbox.send()
                numbers[number] = list(due)
                for at, output in due.items():
                    identity = f"{self.rules.component}/{number}/{at}"
                    outputs.append((output.stream, [*output.flat(), identity]))
        if progress is not None and numbers:
            self._deliveries.sent(progress, numbers)
        elif progress is None:
            for number, sent in numbers.items():
                self._slots[number].outbox.arrived(sent)
                self._slots[number].dirty = True
        return outputs

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
        """Windows that time will close and has not yet."""
        tables = [table for slot in self._slots.values() for table in slot.tables]
        return len({span for table in tables for span in table.open}) + sum(table.open_of_keys for table in tables)

    @property
    def unsent(self) -> bool:
        """Some output is not known to have arrived."""
        return any(slot.outbox for slot in self._slots.values())

    @property
    def watermark_ms(self) -> int | None:
        """The watermark by the claims heard; None before a claim for each partition was heard."""
        return self.view.watermark_ms
