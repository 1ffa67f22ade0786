"""What a keyed task holds for one slot, and what one record does to it (K2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import msgspec

from stormline.core.aggregate import Accumulators, Aggregation
from stormline.core.included import Included
from stormline.core.slot import key_value
from stormline.core.window import Span, Windower


class Rules(NamedTuple):
    """What the user's settings of a keyed bolt come to."""

    component: str
    windower: Windower
    aggregation: Aggregation
    allowed_lateness_ms: int = 0
    trigger: Callable[[Any], bool] | None = None
    """With a trigger, a key's result appears once the trigger has held for it, and is kept up to date from then on."""


class Held:
    """A tuple that waits: for the flushes of its slots, and for its broken records to be safe elsewhere."""

    def __init__(self, tup: Any) -> None:
        self.tup = tup
        self.waits = 0

    def release(self) -> bool:
        """One thing less to wait for; True if that was the last and the tuple is to be acked."""
        self.waits -= 1
        return self.waits == 0


class One(NamedTuple):
    """One row of a batch."""

    offset: int
    time_ms: int
    value: Any
    key: str


@dataclass(slots=True)
class Window:
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
class Flight:
    """A flush on its way: what goes back to dirty if it does not arrive."""

    held: list[Held]
    dirty: dict[int, set[str]]
    late: set[int]
    counted: int


@dataclass(slots=True)
class KeyedSlot:
    sequence: int
    included: Included
    watermark_ms: int | None
    late: int
    windows: dict[int, Window] = field(default_factory=dict)
    late_records: dict[int, bytes] = field(default_factory=dict)
    counted: int = 0
    """Records counted since the last flush was begun."""
    dirty: bool = False
    held: list[Held] = field(default_factory=list)
    flight: Flight | None = None

    def count_together(self, rules: Rules, partition: str, outputs: Sequence[One]) -> int:
        """All outputs of one origin for one slot, or none if user code raises; how many were not late."""
        if len(outputs) == 1:
            return self.count(rules, partition, outputs[0], None)
        undo: list[Callable[[], object]] = []
        try:
            return sum(self.count(rules, partition, one, undo) for one in outputs)
        except Exception:
            for step in reversed(undo):
                step()
            raise

    def count(self, rules: Rules, partition: str, one: One, undo: list[Callable[[], object]] | None) -> bool:
        """False: it was late. User code comes first: if it raises, this record has changed nothing."""
        watermark_ms, key = self.watermark_ms, one.key
        span = rules.windower.span(one.time_ms)
        if watermark_ms is not None and watermark_ms >= span.end_ms + rules.allowed_lateness_ms:
            self._keep_late(partition, one)
            if undo is not None:
                undo.append(self._forget_late)
            return False
        window = self.windows.get(span.start_ms)
        before = None if window is None else window.rows.get(key)
        after = rules.aggregation.add(before, one.value)
        fires = rules.trigger is not None and (window is None or key not in window.fired)
        if fires and rules.trigger is not None:
            fires = bool(rules.trigger(rules.aggregation.result(after)))
        if window is None:
            closed = watermark_ms is not None and watermark_ms >= span.end_ms
            window = self.windows[span.start_ms] = Window(span, final=closed)
        elif window.final:
            window.revised = True
        if fires:
            window.fired.add(key)
        window.rows[key] = after
        window.dirty.add(key)
        if undo is not None:
            undo.append(partial(self._uncount, window, key, before, fires))
        return True

    def _uncount(self, window: Window, key: str, before: Accumulators | None, fired: bool) -> None:
        if fired:
            window.fired.discard(key)
        if before is None:
            del window.rows[key]
        else:
            window.rows[key] = before

    def _keep_late(self, partition: str, one: One) -> None:
        self.late_records[self.late] = msgspec.json.encode(
            {
                "number": self.late,
                "key": key_value(one.key),
                "time_ms": one.time_ms,
                "partition": partition,
                "offset": one.offset,
                "record": one.value,
            }
        )
        self.late += 1

    def _forget_late(self) -> None:
        self.late -= 1
        del self.late_records[self.late]
