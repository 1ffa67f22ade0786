"""What a slot keeps of one kind of window: the state of a window, what is shown of it, what is sent on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from stormline.core.aggregate import Accumulators, Aggregation
from stormline.core.outbox import Outbox
from stormline.core.requests import LoadedWindow, Stage, WindowChange
from stormline.core.slot import SLOTS, key_value
from stormline.core.trigger import Every, Trigger, When
from stormline.core.window import Span, Windower

FINAL, UPDATES, LATE = "final", "updates", "late"
KEYED_STATE = "state"
"""Stands for a window where a user's own function keeps state by key."""
STREAMS = (FINAL, UPDATES, LATE)
"""The streams of a keyed bolt that others may read."""

Undo = list[Callable[[], object]]
"""Steps that take back what a record has changed."""


class Rules(NamedTuple):
    """What the user's settings of a keyed bolt come to."""

    component: str
    windowers: tuple[Windower, ...]
    aggregation: Aggregation
    allowed_lateness_ms: int = 0
    trigger: Trigger | None = None
    streams: frozenset[str] = frozenset()
    """Those of its streams that somebody reads."""
    keep_ms: int | None = None
    """How long results stay after their window is done; None: for ever."""
    processing_time: bool = False
    """The time of a record is that of its arrival, and wall time closes windows."""
    slots: int = SLOTS
    """Over which the keys are spread."""

    @property
    def by_clock(self) -> bool:
        """Wall time changes something."""
        return self.processing_time or bool(self.wall_period_ms) or any(w.name == KEYED_STATE for w in self.windowers)

    @property
    def event_period_ms(self) -> int:
        """After so much of the watermark's time a trigger fires; 0: it does not go by this time."""
        return self.trigger.event_ms if isinstance(self.trigger, Every) else 0

    @property
    def wall_period_ms(self) -> int:
        """The same by wall time."""
        return self.trigger.wall_ms if isinstance(self.trigger, Every) else 0

    def fold(self, before: Accumulators | None, value: Any, place: tuple[int, str, int]) -> Accumulators:
        """The accumulators with one more record; `place` is its event time and origin."""
        add = self.aggregation.add
        return add(before, value, place) if self.aggregation.needs_place else add(before, value)


Row = tuple[int, int, Any, str]
"""One row of a batch: offset, event time in ms, record, canonical key. A plain tuple: one is made for each record."""


@dataclass(slots=True)
class Window:
    """A window of a slot with a row of accumulators for each of its keys."""

    id: str
    span: Span
    final: bool = False
    revision: int = 0
    rows: dict[str, Accumulators] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)
    """Keys for which the condition of the trigger has held."""
    dirty: set[str] = field(default_factory=set)
    changed: bool = True
    """Its entry in the index is to be written."""
    revised: bool = False
    """A record was counted after the window was final, and no flush has said so yet."""
    told: bool = False
    """Its final results were sent."""
    unsent: set[str] = field(default_factory=set)
    """Keys with changes that a trigger by time has not sent yet."""

    @classmethod
    def loaded(cls, rules: Rules, stored: LoadedWindow, *, rows: bool = True) -> Window:
        """As the store has it; without its rows where they are kept elsewhere: results do not tell all accumulators."""
        read = rules.aggregation.read
        window = cls(stored.id, Span(stored.start_ms, stored.end_ms), stored.final, stored.revision, changed=False)
        keys = stored.results.keys() | stored.states.keys()
        window.rows = {k: read(stored.results.get(k), stored.states.get(k)) for k in keys} if rows else {}
        window.told = stored.final
        if isinstance(rules.trigger, When):
            window.fired = set(stored.results)
        elif rules.trigger is not None:
            window.unsent = set(keys)
        return window

    def close(self, watermark_ms: int) -> bool:
        """Whether the watermark makes it final now."""
        if self.final or watermark_ms < self.span.end_ms:
            return False
        self.final = self.changed = True
        return True


class Table(Protocol):
    """The windows of one kind in one slot."""

    def load(self, stored: LoadedWindow) -> None:
        """A window as the store has it, before anything else."""

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        """Count a record; False: it is late. User code comes first: if it raises, nothing has changed."""

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        """The slot's watermark has come so far; whether anything is to be flushed because of it."""

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        """What has changed since the last time, as absolute values; what is done with leaves the memory."""

    def send_unsent(self, outbox: Outbox) -> bool:
        """The period of a trigger by time is over: send what has changed; whether there was anything."""

    @property
    def last_end_ms(self) -> int | None:
        """The largest end of a window that time will close; None: there is none."""

    @property
    def open(self) -> set[Span]:
        """The windows of all keys that time will close and has not yet."""

    open_of_keys: int
    """How many windows of single keys, or timers, time will close and has not yet."""


def update(rules: Rules, windower: Windower, window: Window, key: str, after: Accumulators, outbox: Outbox) -> bool:
    """A record has made this of a key's row: does the trigger fire? What it sends, it sends as of this record.

    True: the condition holds for the first time.
    """
    trigger = rules.trigger
    if isinstance(trigger, When):
        return key not in window.fired and send_condition(rules, windower, window, key, after, outbox)
    every = trigger.records if trigger is not None and UPDATES in rules.streams else 0
    if every and rules.aggregation.records(after) % every == 0:
        result = rules.aggregation.result(after)
        outbox.put(UPDATES, _values(windower.name, key, window.span, window.revision, result))
    return False


def send_condition(
    rules: Rules, windower: Windower, window: Window, key: str, row: Accumulators, outbox: Outbox
) -> bool:
    """Whether the condition of the trigger holds for this row; then it is sent."""
    assert isinstance(rules.trigger, When)
    result = rules.aggregation.result(row)
    holds = bool(rules.trigger.holds(result))
    if holds and UPDATES in rules.streams:
        outbox.put(UPDATES, _values(windower.name, key, window.span, window.revision, result))
    return holds


def change(rules: Rules, windower: Windower, window: Window, outbox: Outbox, *, over: bool) -> WindowChange:
    """What is to be written of a window whose rows are its own, and what is to be sent because of it."""
    if window.revised:
        window.revision += 1
        window.revised = False
    aggregation = rules.aggregation
    rows = {key: window.rows[key] for key in window.dirty if key in window.rows}
    states: dict[str, str] = {}
    if isinstance(rules.trigger, When) or aggregation.needs_state:
        states = aggregation.write_states(rows)
    shown = rows
    if isinstance(rules.trigger, When):
        shown = {key: row for key, row in rows.items() if key in window.fired}
    send_changes(rules, windower, window, shown, outbox)
    window.dirty, window.changed = set(), False
    return WindowChange(
        windower.name,
        window.id,
        window.span.start_ms,
        window.span.end_ms,
        window.final,
        window.revision,
        aggregation.write_results(shown),
        states,
        stage_of(rules, window, over=over),
    )


def stage_of(rules: Rules, window: Window, *, over: bool) -> Stage:
    """What becomes of a window in the store. Where no key's condition has held there is no row to be kept."""
    if not over:
        return "live"
    return "gone" if isinstance(rules.trigger, When) and not window.fired else "done"


def send_changes(
    rules: Rules, windower: Windower, window: Window, shown: Mapping[str, Accumulators], outbox: Outbox
) -> None:
    """Send what these rows have become, as far as somebody reads it."""
    result = rules.aggregation.result
    if UPDATES in rules.streams:
        if rules.trigger is None:
            for key, row in shown.items():
                outbox.put(UPDATES, _values(windower.name, key, window.span, window.revision, result(row)))
        elif isinstance(rules.trigger, Every) and not rules.trigger.records:
            window.unsent |= shown.keys()
    if FINAL in rules.streams and window.final:
        rows = shown
        if not window.told:
            rows = window.rows or shown
            if isinstance(rules.trigger, When):
                rows = {key: row for key, row in rows.items() if key in window.fired}
        for key, row in rows.items():
            outbox.put(FINAL, _values(windower.name, key, window.span, window.revision, result(row)))
    window.told = window.final


def send_unsent(
    rules: Rules, windower: Windower, window: Window, rows: Mapping[str, Accumulators], outbox: Outbox
) -> bool:
    """A trigger by time sends what has changed since it last did."""
    unsent, window.unsent = window.unsent, set()
    for key in unsent & rows.keys():
        result = rules.aggregation.result(rows[key])
        outbox.put(UPDATES, _values(windower.name, key, window.span, window.revision, result))
    return bool(unsent)


def _values(name: str, key: str, span: Span, revision: int, result: msgspec.Struct) -> list[Any]:
    """The values of a tuple on `final` or `updates`, in the order of `result_fields`, without its identity."""
    return [name, key_value(key), span.start_ms, span.end_ms, revision, *msgspec.structs.astuple(result)]


def result_fields(names: tuple[str, ...]) -> list[str]:
    """The fields of the streams `final` and `updates`, for aggregates of these names."""
    return ["window", "key", "start_ms", "end_ms", "revision", *names, "id"]


LATE_FIELDS = ["window", "key", "time_ms", "partition", "offset", "record", "id"]
