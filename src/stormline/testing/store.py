"""The store made of memory, with the rules of the scripts in `connectors/`; contract tests hold it to them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from stormline.connectors.results import LateRecord, Row, key_order, late_order
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Ended,
    Ends,
    Enter,
    Flush,
    Gone,
    Load,
    Loaded,
    LoadedWindow,
    Mark,
    Refused,
    Reply,
    Request,
    Unknown,
)
from stormline.core.slot import key_value


@dataclass
class _Window:
    end_ms: int
    final: bool
    revision: int
    live: bool
    results: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)


@dataclass
class _Slot:
    owner: str = ""
    run: int = 0
    sequence: int = 0
    floor: dict[str, int] = field(default_factory=dict)
    included: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    watermark_ms: int | None = None
    late: int = 0
    late_records: dict[int, bytes] = field(default_factory=dict)
    windows: dict[tuple[str, int], _Window] = field(default_factory=dict)


class MemoryStore:
    """One app's store. What is in here survives a crash of the driver's engine, as it would in Redis."""

    def __init__(self) -> None:
        self.run: int | None = None
        """The run marker: the number of the latest run; None before the first, and once the data is lost."""
        self.halted: str | None = None
        self.commits: dict[str, int] = {}
        self.partitions: dict[str, int] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.slots: dict[tuple[str, int], _Slot] = {}
        self.faults: list[str] = []
        """What happens to the next flushes, one each: "lost" (never arrives) or "unanswered" (applied, reply lost)."""
        self.down = False
        """Nothing is answered."""
        self._life = 0
        self._loaded_in: dict[tuple[str, int], int] = {}

    def restart(self) -> None:
        """The server was restarted with its data: slots must be loaded again before they are flushed."""
        self._life += 1
        self.down = False

    def lose_data(self) -> None:
        """The server was restarted without its data, the run marker included."""
        self.run, self.halted = None, None
        for kept in (self.commits, self.partitions, self.ends, self.slots):
            kept.clear()
        self.restart()

    def begin_run(self) -> int:
        """Number this run: an older one can load nothing any more."""
        self.run = (self.run or 0) + 1
        return self.run

    def ask(self, request: Request) -> Reply:
        """Carry one request out."""
        if self.down:
            return Unknown("the server does not answer")
        match request:
            case Load():
                return self._load(request)
            case Flush():
                fault = self.faults.pop(0) if self.faults else None
                if fault == "lost":
                    return Unknown("the flush was lost")
                reply = self._flush(request)
                return Unknown("the reply was lost") if fault == "unanswered" else reply
            case Enter():
                return self._enter(request)
            case Mark():
                return self._mark(request)
            case Counts():
                return Counted(dict(self.partitions))
            case Ends():
                return Ended(self.ends.get(request.topic))

    def _closed(self) -> str | None:
        return self.halted or ("Redis has lost the run marker of this app" if self.run is None else None)

    def _load(self, load: Load) -> Reply:
        closed = self._closed()
        if closed is not None:
            return Refused(closed, halted=True)
        slot = self.slots.setdefault((load.component, load.slot), _Slot())
        if slot.run > load.run:
            return Refused(f"run {slot.run} of this app owns the slot", outdated=True)
        if load.again and slot.owner != load.owner:
            return Refused("another task owns the slot")
        slot.owner, slot.run = load.owner, load.run
        self._loaded_in[load.component, load.slot] = self._life
        windows = [
            LoadedWindow(name, start, w.end_ms, w.final, w.revision, dict(w.results), dict(w.states))
            for (name, start), w in slot.windows.items()
            if w.live
        ]
        included = {lane: {p: list(o) for p, o in offsets.items()} for lane, offsets in slot.included.items()}
        return Loaded(load.slot, slot.sequence, dict(slot.floor), included, slot.watermark_ms, slot.late, windows)

    def _flush(self, flush: Flush) -> Reply:
        at = (flush.component, flush.slot)
        if self._loaded_in.get(at) != self._life:
            return Gone()
        slot = self.slots[at]
        if slot.owner != flush.owner:
            return Refused("another task owns the slot")
        if flush.sequence <= slot.sequence:
            return Applied()
        slot.sequence, slot.floor, slot.included = flush.sequence, dict(flush.floor), flush.included
        slot.watermark_ms, slot.late = flush.watermark_ms, flush.late
        slot.late_records.update(flush.late_records)
        for change in flush.windows:
            window = slot.windows.setdefault((change.name, change.start_ms), _Window(0, False, 0, True))
            window.end_ms, window.final, window.revision = change.end_ms, change.final, change.revision
            window.live = not change.forgotten
            window.results.update(change.results)
            window.states.update(change.states)
            if change.forgotten:
                window.states.clear()
        return Applied()

    def _enter(self, enter: Enter) -> Reply:
        closed = self._closed()
        if closed is not None:
            return Refused(closed, halted=True)
        for partition, offset in enter.committed.items():
            if self.commits.get(partition, -1) < offset:
                return self._halt(f"Kafka has committed offset {offset} of {partition}: Redis has lost data")
        self.partitions[enter.spout] = max(self.partitions.get(enter.spout, 0), enter.partition_count)
        return Applied()

    def _mark(self, mark: Mark) -> Reply:
        if self.halted is not None:
            return Refused(self.halted, halted=True)
        for partition, offset in mark.committed.items():
            known = self.commits.get(partition, -1)
            if known < mark.previous.get(partition, -1):
                return self._halt(f"the mark of {partition} is gone: Redis has lost data")
            if offset > known:
                self.commits[partition] = offset
        return Applied()

    def _halt(self, why: str) -> Refused:
        self.halted = why
        return Refused(why, halted=True)

    def rows(self, component: str) -> list[Row]:
        """The results of a component, as `stormline.Results` gives them: by start of the window, then by key."""
        found = [
            Row(
                component,
                key_value(key),
                start,
                w.end_ms,
                "final" if w.final else "open",
                w.revision,
                msgspec.json.decode(raw),
            )
            for slot in self._slots(component)
            for (_, start), w in slot.windows.items()
            for key, raw in w.results.items()
        ]
        return sorted(found, key=lambda row: (row.start_ms, key_order(row.key)))

    def late(self, component: str) -> tuple[int, list[LateRecord]]:
        """How many records of a component were late, and those kept, as `stormline.Results` gives them."""
        slots = self._slots(component)
        raws = [raw for slot in slots for raw in slot.late_records.values()]
        records = [LateRecord(component, **msgspec.json.decode(raw)) for raw in raws]
        return sum(slot.late for slot in slots), sorted(records, key=late_order)

    def _slots(self, component: str) -> list[_Slot]:
        return [slot for (owner, _), slot in self.slots.items() if owner == component]
