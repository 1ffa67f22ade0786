"""Sliding windows: records are counted in panes, windows are put together from them.

A window is shown from when its last pane has begun, so that a record changes one row, or a few where records are out
of order, and not one for each window that it is in. When a window closes, all its keys have their final row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import partial

from stormline.core.aggregate import Accumulators
from stormline.core.outbox import Fault, Outbox
from stormline.core.panes import Panes
from stormline.core.requests import LoadedWindow, WindowChange
from stormline.core.table import Row, Rules, Undo, Window, send_changes, send_condition, send_unsent, stage_of
from stormline.core.trigger import When
from stormline.core.window import FAR_MS, Sliding, Span

SHOWN = 8
"""Open windows that are shown at most: the newest, by the newest record."""
AHEAD = 32
"""So many panes between what closes and what is shown are put together anew each time; more have sums of their own."""


class SlidingWindows:
    """The panes of one slot, and the windows that were shown and may still change."""

    open_of_keys = 0

    def __init__(self, rules: Rules, windower: Sliding, watermark_ms: int | None) -> None:
        self.windows: dict[int, Window] = {}
        """The panes, by their starts."""
        self.span = windower.span
        self._rules = rules
        self._windower = windower
        self._shown: dict[int, Window] = {}
        """By their ends; their rows are in the panes."""
        self._panes = Panes(rules.aggregation.merge, windower, self.windows)
        """For windows that close."""
        self._live = Panes(rules.aggregation.merge, windower, self.windows)
        """For those that are open and shown, where they are far ahead of them."""
        self._ahead = False
        self._revised: set[int] = set()
        """Starts of panes with records that came when a window with them was closed."""
        self._pane_name = f"{windower.name}#panes"
        self._closed_ms = -FAR_MS if watermark_ms is None else watermark_ms
        """Windows that end up to here are final."""
        self._closing: list[int] = []
        """Ends of windows that became final since the last flush."""
        self._next_ms = -FAR_MS
        """Below this watermark nothing closes and nothing is over."""

    def load(self, stored: LoadedWindow) -> None:
        if stored.name == self._pane_name:
            self.windows[stored.start_ms] = Window.loaded(self._rules, stored)
        else:
            self._shown[stored.end_ms] = Window.loaded(self._rules, stored, rows=False)

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        offset, time_ms, value, key = row
        span = self.span(time_ms)
        last_ms = self._last_end_ms(span.start_ms)
        over_ms = -FAR_MS if watermark_ms is None else watermark_ms - self._rules.allowed_lateness_ms
        if last_ms <= over_ms:
            return False
        if self._windower.first_end_ms(span.end_ms - 1) <= self._closed_ms:
            self._revised.add(span.start_ms)
        pane = self.windows.get(span.start_ms) or Window(str(span.start_ms), span)
        before = pane.rows.get(key)
        after = self._rules.fold(before, value, (time_ms, partition, offset))
        if not pane.rows:
            self.windows[span.start_ms] = pane
            self._next_ms = -FAR_MS
        pane.rows[key] = after
        pane.dirty.add(key)
        if undo is not None:
            undo.append(partial(self._take_back, pane, key, before))
        return True

    def _take_back(self, pane: Window, key: str, before: Accumulators | None) -> None:
        if before is not None:
            pane.rows[key] = before
            return
        del pane.rows[key]
        pane.dirty.discard(key)
        if not pane.rows:
            del self.windows[pane.span.start_ms]

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        if watermark_ms < self._next_ms:
            return False
        windower, starts = self._windower, sorted(self.windows)
        end_ms = windower.first_end_ms(max(self._closed_ms, starts[0] if starts else watermark_ms))
        while end_ms <= watermark_ms:
            at = bisect_left(starts, end_ms - windower.size_ms)
            if at == len(starts):
                break
            if starts[at] < end_ms:
                self._closing.append(end_ms)
                end_ms += windower.slide_ms
            else:
                end_ms = windower.first_end_ms(starts[at])
        self._closed_ms = max(self._closed_ms, watermark_ms)
        lateness_ms = self._rules.allowed_lateness_ms
        over_ms = min([*map(self._last_end_ms, starts), *self._shown, *self._closing], default=FAR_MS) + lateness_ms
        self._next_ms = min(windower.first_end_ms(watermark_ms), over_ms)
        return bool(self._closing) or over_ms <= watermark_ms

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        self._next_ms = -FAR_MS
        over_ms = -FAR_MS if watermark_ms is None else watermark_ms - self._rules.allowed_lateness_ms
        changed = self._changed(over_ms)
        changes = list(self._pane_changes())
        closing, self._closing = set(self._closing), []
        for end_ms in sorted(changed.keys() | closing | {end for end in self._shown if end <= over_ms}):
            keys = None if end_ms in closing else changed.get(end_ms, set())
            changes.append(self._change(end_ms, keys, over_ms, outbox))
        for start_ms in [start for start in self.windows if self._last_end_ms(start) <= over_ms]:
            pane = self.windows.pop(start_ms)
            changes.append(WindowChange(self._pane_name, pane.id, *pane.span, True, 0, {}, {}, "gone"))
        if not self.windows:
            self._panes.clear()
            self._live.clear()
        return changes

    def _changed(self, over_ms: int) -> dict[int, set[str]]:
        """Ends of windows that are shown and not over -> the keys with news in them.

        Of open windows the newest few, so that a pane costs the same in however many windows it is; of closed ones all
        with a pane that a late record has changed, since nothing else will have them written.
        """
        windower, slide_ms = self._windower, self._windower.slide_ms
        changed: dict[int, set[str]] = {}
        newest_ms = windower.first_end_ms(max(self.windows, default=0) + windower.pane_ms - 1)
        first_open_ms = max(newest_ms - (SHOWN - 1) * slide_ms, windower.first_end_ms(self._closed_ms))
        self._tell_changed()
        for start_ms, pane in self.windows.items():
            if pane.dirty:
                last_ms, first_ms = self._last_end_ms(start_ms), windower.first_end_ms(start_ms + windower.pane_ms - 1)
                ends = [*range(max(first_ms, first_open_ms), min(last_ms, newest_ms) + 1, slide_ms)]
                if start_ms in self._revised:
                    first_ms = max(first_ms, windower.first_end_ms(over_ms))
                    ends += range(first_ms, min(last_ms, self._closed_ms) + 1, slide_ms)
                for end_ms in ends:
                    changed.setdefault(end_ms, set()).update(pane.dirty)
        self._revised.clear()
        still_open = [end_ms for end_ms in changed if end_ms > self._closed_ms]
        self._ahead = bool(still_open) and min(still_open) - self._panes.end_ms > AHEAD * windower.pane_ms
        if self._ahead:
            try:
                self._live.advance(min(still_open) - windower.size_ms, min(still_open))
            except Exception:  # a user's merge may raise anything; `_rows` finds for whom
                self._live.clear()
        return changed

    def _tell_changed(self) -> None:
        """Sums that hold a pane with news are out of date."""
        for start_ms, pane in self.windows.items():
            if pane.dirty:
                self._panes.changed(start_ms, pane.dirty)
                self._live.changed(start_ms, pane.dirty)

    def _pane_changes(self) -> Iterator[WindowChange]:
        for pane in self.windows.values():
            if pane.dirty:
                states = self._rules.aggregation.write_states({key: pane.rows[key] for key in pane.dirty})
                pane.dirty, pane.changed = set(), False
                yield WindowChange(self._pane_name, pane.id, *pane.span, False, 0, {}, states, "inner")

    def _change(self, end_ms: int, keys: set[str] | None, over_ms: int, outbox: Outbox) -> WindowChange:
        """What is to be written of a window, of all its keys (None) or of some."""
        rules, span = self._rules, Span(end_ms - self._windower.size_ms, end_ms)
        window = self._shown.setdefault(end_ms, Window(str(span.start_ms), span))
        if window.final and keys:
            window.revision += 1
        window.final = end_ms <= self._closed_ms
        rows = self._rows(keys, span, outbox)
        if isinstance(rules.trigger, When):
            rows = {key: row for key, row in rows.items() if self._fires(window, key, row, outbox)}
        send_changes(rules, self._windower, window, rows, outbox)
        if end_ms <= over_ms:
            del self._shown[end_ms]
        return WindowChange(
            self._windower.name,
            window.id,
            *span,
            window.final,
            window.revision,
            rules.aggregation.write_results(rows),
            {},
            stage_of(rules, window, over=end_ms <= over_ms),
        )

    def _rows(self, keys: set[str] | None, span: Span, outbox: Outbox) -> dict[str, Accumulators]:
        """Merged from the panes, of all keys (None) or of some; without those for which a user's own merge raises."""
        panes = self._live if self._ahead and span.end_ms > self._closed_ms else self._panes
        try:
            return panes.all_rows(*span) if keys is None else panes.rows(keys, *span)
        except Exception:  # user code may raise anything: once more, key by key, to find for whom
            panes.clear()
        rows: dict[str, Accumulators] = {}
        for key in panes.keys(*span) if keys is None else keys:
            try:
                rows |= panes.direct({key}, *span)
            except Exception as error:  # the same
                outbox.faults.append(Fault(key, f"merge, for the window {span}", error))
        return rows

    def _fires(self, window: Window, key: str, row: Accumulators, outbox: Outbox) -> bool:
        """The condition of the trigger holds or has held. Asked when a row is written, not for each record."""
        if key not in window.fired:
            try:
                holds = send_condition(self._rules, self._windower, window, key, row, outbox)
            except Exception as error:  # user code may raise anything; the record is counted all the same
                outbox.faults.append(Fault(key, f"the trigger, for the window {window.span}", error))
                return False
            if holds:
                window.fired.add(key)
        return key in window.fired

    def send_unsent(self, outbox: Outbox) -> bool:
        sent = False
        self._tell_changed()
        for window in self._shown.values():
            rows = self._rows(window.unsent, window.span, outbox)
            sent |= send_unsent(self._rules, self._windower, window, rows, outbox)
        return sent

    def _last_end_ms(self, pane_ms: int) -> int:
        """The end of the last window with this pane; where it lies in a gap between windows, long ago."""
        end_ms = self._windower.last_end_ms(pane_ms)
        return -FAR_MS if end_ms is None else end_ms

    @property
    def last_end_ms(self) -> int | None:
        return max([*map(self._last_end_ms, self.windows), *self._shown], default=None)

    @property
    def open(self) -> set[Span]:
        size_ms, ends = self._windower.size_ms, map(self._last_end_ms, self.windows)
        return {Span(end_ms - size_ms, end_ms) for end_ms in ends if end_ms > self._closed_ms}
