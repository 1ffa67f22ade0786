"""Count windows: so many records of a key, in the order in which they arrive.

That order is not the same each time: records that come again after a crash may come in another one. Each is still
counted once, and so many windows of so many records come of it; which records are in which window may differ.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import NamedTuple

import msgspec

from stormline.core.aggregate import Accumulators, written
from stormline.core.outbox import Outbox
from stormline.core.requests import LoadedWindow, WindowChange
from stormline.core.table import Row, Rules, Undo, Window, change, send_unsent, update
from stormline.core.window import FAR_MS, CountWindow, Span


class _Pane(NamedTuple):
    """`slide` records of a key, or what has come of them yet."""

    number: int
    """Counted from the key's first record."""
    records: int
    span: Span
    row: Accumulators


class Counts:
    """The last panes of each key of one slot, for ever: a key is waiting for its next record."""

    open_of_keys = 0

    def __init__(self, rules: Rules, windower: CountWindow) -> None:
        self._rules = rules
        self._windower = windower
        self._kept = windower.size // windower.slide
        """Panes of a window."""
        self._panes: dict[str, tuple[_Pane, ...]] = {}
        """Key -> its last panes, the newest last; at most one window of them."""
        self._earlier: dict[str, Accumulators] = {}
        """Key -> the sum of all its panes but the newest."""
        self._open: dict[str, Window] = {}
        """Key -> the window that its newest pane will complete."""
        self._full: list[Window] = []
        self._dirty: set[str] = set()
        self._name = f"{windower.name}#panes"

    def load(self, stored: LoadedWindow) -> None:
        if stored.name == self._name:
            for key, state in stored.states.items():
                panes = msgspec.json.decode(state, type=list[tuple[int, int, Span, msgspec.Raw]])
                read = self._rules.aggregation.read
                self._panes[key] = tuple(
                    _Pane(n, r, span, read(None, bytes(row).decode())) for n, r, span, row in panes
                )
        else:
            self._open[stored.id.partition("@")[2]] = Window.loaded(self._rules, stored)

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        offset, time_ms, value, key = row
        rules, slide = self._rules, self._windower.slide
        before = panes = self._panes.get(key, ())
        newest = panes[-1] if panes else None
        place = time_ms, partition, offset
        if newest is None or newest.records == slide:
            number = 0 if newest is None else newest.number + 1
            newest = _Pane(number, 1, Span(time_ms, time_ms + 1), rules.fold(None, value, place))
            panes = (*panes, newest)[-self._kept :]
        else:
            span = Span(min(newest.span.start_ms, time_ms), max(newest.span.end_ms, time_ms + 1))
            newest = _Pane(newest.number, newest.records + 1, span, rules.fold(newest.row, value, place))
            panes = (*panes[:-1], newest)
        total = newest.row
        if len(panes) > 1:
            merge = rules.aggregation.merge
            if len(before) == 0 or before[-1].number != newest.number or key not in self._earlier:
                self._earlier[key] = reduce(merge, [pane.row for pane in panes[:-1]])
            total = merge(self._earlier[key], newest.row)
        window_before = self._open.get(key)
        window = Window(f"{newest.number}@{key}", _around(panes))
        if window_before is not None and window_before.id == window.id:
            window.fired, window.unsent = set(window_before.fired), set(window_before.unsent)
        next_output = outbox.next_number
        if update(rules, self._windower, window, key, total, outbox):
            window.fired.add(key)
        window.rows[key] = total
        window.dirty.add(key)
        self._panes[key] = panes
        full = newest.records == slide
        if full:
            window.final = True
            self._full.append(window)
            self._open.pop(key, None)
        else:
            self._open[key] = window
        self._dirty.add(key)
        if undo is not None:
            undo.append(partial(self._take_back, key, before, window_before, full, outbox, next_output))
        return True

    def _take_back(
        self, key: str, panes: tuple[_Pane, ...], window: Window | None, full: bool, outbox: Outbox, number: int
    ) -> None:
        outbox.take_back(number)
        self._earlier.pop(key, None)
        if full:
            self._full.pop()
        self._open.pop(key, None)
        if window is not None:
            self._open[key] = window
        if panes:
            self._panes[key] = panes
        else:
            del self._panes[key]

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        return False

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        rules, windower = self._rules, self._windower
        changes = [change(rules, windower, window, outbox, over=True) for window in self._full]
        changes += [change(rules, windower, w, outbox, over=False) for w in self._open.values() if w.dirty]
        states = {}
        for key in self._dirty & self._panes.keys():
            written_rows = rules.aggregation.write_states({str(p.number): p.row for p in self._panes[key]})
            panes = [(p.number, p.records, p.span, msgspec.Raw(written_rows[str(p.number)])) for p in self._panes[key]]
            states[key] = written(panes).decode()
        if states:
            changes.append(WindowChange(self._name, "0", 0, FAR_MS, False, 0, {}, states, "inner"))
        self._full, self._dirty = [], set()
        return changes

    def send_unsent(self, outbox: Outbox) -> bool:
        windows = [window for window in self._open.values() if window.unsent]
        sent = [send_unsent(self._rules, self._windower, window, window.rows, outbox) for window in windows]
        return any(sent)

    @property
    def last_end_ms(self) -> int | None:
        return None

    @property
    def open(self) -> set[Span]:
        return set()


def _around(panes: tuple[_Pane, ...]) -> Span:
    """From the earliest of the records to behind the latest."""
    return Span(min(pane.span.start_ms for pane in panes), max(pane.span.end_ms for pane in panes))
