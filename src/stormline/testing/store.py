"""The store made of memory, with the rules of the scripts in `connectors/`; contract tests hold it to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from stormline.connectors.results import LateRecord, Row, late_order, row_order
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Ended,
    Ends,
    Enter,
    Entered,
    Flush,
    Gone,
    Load,
    Loaded,
    LoadedWindow,
    Mark,
    Refused,
    Reply,
    Report,
    Request,
    Skipping,
    Skips,
    Tried,
    Try,
    Unknown,
    WindowChange,
)
from stormline.core.slot import key_value


@dataclass
class _Window:
    latest: WindowChange
    results: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    kept_until_ms: int | None = None


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
    windows: dict[tuple[str, str], _Window] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)
    next_output: int = 0

    def write(self, change: WindowChange, flush: Flush) -> None:
        place = change.name, change.id
        if change.stage == "gone":
            self.windows.pop(place, None)
            return
        window = self.windows.setdefault(place, _Window(change))
        window.latest = change
        window.results.update(change.results)
        window.states.update(change.states)
        for key in change.removed:
            window.results.pop(key, None)
            window.states.pop(key, None)
        if change.stage == "done":
            window.states.clear()
            if flush.keep_ms is not None:
                window.kept_until_ms = flush.now_ms + flush.keep_ms

    def forget(self, now_ms: int) -> None:
        """What was kept long enough."""
        over = [place for place, w in self.windows.items() if w.kept_until_ms is not None and w.kept_until_ms <= now_ms]
        for place in over:
            del self.windows[place]


class MemoryStore:
    """One app's store. What is in here survives a crash of the driver's engine, as it would in Redis."""

    def __init__(self) -> None:
        self.run: int | None = None
        """The run marker: the number of the latest run; None before the first, and once the data is lost."""
        self.halted: str | None = None
        self.commits: dict[str, int] = {}
        self.partitions: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        """Topic -> how many partitions it had when the app began with it."""
        self.ends: dict[str, dict[int, int]] = {}
        self.starts: dict[str, int] = {}
        """Partition -> how many times in a row it was begun without getting on."""
        self.trying: Try | None = None
        """What is out carefully."""
        self.blamed: dict[str, int] = {}
        """Record (`<partition>/<offset>`) -> how many times the process died while it was out alone."""
        self.skips: set[str] = set()
        """Records to pass over, as `topic/partition/offset`."""
        self.standings: dict[str, bytes] = {}
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
        self.run, self.halted, self.trying = None, None, None
        kept: list[dict[Any, Any] | set[str]] = [self.commits, self.partitions, self.ends, self.slots]
        for each in [*kept, self.starts, self.blamed, self.skips, self.standings]:
            each.clear()
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
            case Try():
                if self.trying is not None and self.trying.owner != request.owner:
                    return Tried(False)
                self.trying = request if request.partition else None
                return Tried(True)
            case Skips():
                return Skipping(frozenset(self.skips))
            case Report():
                self.standings.update(request.standings)
                return Applied()
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
            LoadedWindow(name, id_, w.start_ms, w.end_ms, w.final, w.revision, dict(kept.results), dict(kept.states))
            for (name, id_), kept in slot.windows.items()
            if (w := kept.latest).stage in ("live", "inner")
        ]
        included = {lane: {p: list(o) for p, o in offsets.items()} for lane, offsets in slot.included.items()}
        return Loaded(
            load.slot,
            slot.sequence,
            dict(slot.floor),
            included,
            slot.watermark_ms,
            slot.late,
            windows,
            dict(slot.outputs),
            slot.next_output,
        )

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
        slot.outputs.update(flush.outputs)
        for number in flush.delivered:
            slot.outputs.pop(number, None)
        slot.next_output = flush.next_output
        for change in flush.windows:
            slot.write(change, flush)
        if flush.keep_ms is not None:
            slot.forget(flush.now_ms)
        return Applied()

    def _enter(self, enter: Enter) -> Reply:
        closed = self._closed()
        if closed is not None:
            return Refused(closed, halted=True)
        own = {_topic(each): each.rpartition("/")[0] for each in enter.partitions if ":" in each}
        for known in self.commits:
            if ":" in known and own.get(_topic(known), known.rpartition("/")[0]) != known.rpartition("/")[0]:
                return self._halt(f"topic {_topic(known)} was deleted and made anew")
        for partition, offset in enter.committed.items():
            if self.commits.get(partition, -1) < offset:
                return self._halt(f"Kafka has committed offset {offset} of {partition}: Redis has lost data")
        younger = enter.by_pattern and enter.spout in self.partitions
        self.partitions[enter.spout] = max(self.partitions.get(enter.spout, 0), enter.partition_count)
        if self.trying is not None and self.trying.partition in enter.partitions:
            if self.trying.records == 1:
                record = f"{self.trying.partition}/{self.trying.offset}"
                self.blamed[record] = self.blamed.get(record, 0) + 1
            self.trying = None
        for partition in enter.behind:
            self.starts[partition] = self.starts.get(partition, 0) + 1
        self.begun = (dict.fromkeys(enter.counts, 0) if younger else enter.counts) | self.begun
        counts = {topic: self.begun[topic] for topic in enter.counts}
        starts = {each: self.starts[each] for each in enter.behind}
        unknown = [each for each in enter.partitions if each not in enter.committed]
        here = {each: self.commits[each] for each in unknown if each in self.commits}
        return Entered(starts, frozenset(self.skips), counts, here)

    def _mark(self, mark: Mark) -> Reply:
        if self.halted is not None:
            return Refused(self.halted, halted=True)
        for partition in mark.committed:
            known = self.commits.get(partition, -1)
            if known < mark.previous.get(partition, -1):
                return self._halt(f"the mark of {partition} is gone: Redis has lost data")
        if (closed := self._closed()) is not None:
            return Refused(closed, halted=True)
        for partition, offset in mark.committed.items():
            self.commits[partition] = max(offset, self.commits.get(partition, -1))
        for partition in mark.well:
            self.starts.pop(partition, None)
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
                w.start_ms,
                w.end_ms,
                "final" if w.final else "open",
                w.revision,
                msgspec.json.decode(raw),
                w.name,
            )
            for slot in self._slots(component)
            for kept in slot.windows.values()
            if (w := kept.latest).stage != "inner"
            for key, raw in kept.results.items()
        ]
        return sorted(found, key=row_order)

    def late(self, component: str) -> tuple[int, list[LateRecord]]:
        """How many records of a component were late, and those kept, as `stormline.Results` gives them."""
        slots = self._slots(component)
        raws = [raw for slot in slots for raw in slot.late_records.values()]
        records = [LateRecord(component, **msgspec.json.decode(raw)) for raw in raws]
        return sum(slot.late for slot in slots), sorted(records, key=late_order)

    def _slots(self, component: str) -> list[_Slot]:
        return [slot for (owner, _), slot in self.slots.items() if owner == component]


def _topic(partition: str) -> str:
    return partition.partition(":")[0]
