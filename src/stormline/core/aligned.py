"""Windows that are the same for all keys and do not overlap: tumbling, calendar, and the global one."""

from __future__ import annotations

from functools import partial

from stormline.core.aggregate import Accumulators
from stormline.core.outbox import Outbox
from stormline.core.requests import LoadedWindow, WindowChange
from stormline.core.table import Row, Rules, Undo, Window, change, send_unsent, update
from stormline.core.window import FAR_MS, Aligning, Span


class Aligned:
    """The windows of one slot by their starts."""

    open_of_keys = 0

    def __init__(self, rules: Rules, windower: Aligning) -> None:
        self.windows: dict[int, Window] = {}
        self.span = windower.span
        self._rules = rules
        self._windower = windower

    def load(self, stored: LoadedWindow) -> None:
        self.windows[stored.start_ms] = Window.loaded(self._rules, stored)

    def add(self, partition: str, row: Row, outbox: Outbox, watermark_ms: int | None, undo: Undo | None) -> bool:
        offset, time_ms, value, key = row
        rules = self._rules
        span = self.span(time_ms)
        if watermark_ms is not None and watermark_ms >= span.end_ms + rules.allowed_lateness_ms:
            return False
        window = self.windows.get(span.start_ms) or Window(str(span.start_ms), span)
        before = window.rows.get(key)
        after = rules.fold(before, value, (time_ms, partition, offset))
        number = outbox.next_number
        fires = update(rules, self._windower, window, key, after, outbox)
        if not window.rows:
            window.final = watermark_ms is not None and watermark_ms >= span.end_ms
            self.windows[span.start_ms] = window
        elif window.final:
            window.revised = True
        if fires:
            window.fired.add(key)
        window.rows[key] = after
        window.dirty.add(key)
        if undo is not None:
            undo.append(partial(self._take_back, window, key, before, fires, outbox, number))
        return True

    def _take_back(
        self, window: Window, key: str, before: Accumulators | None, fired: bool, outbox: Outbox, number: int
    ) -> None:
        outbox.take_back(number)
        if fired:
            window.fired.discard(key)
        if before is None:
            del window.rows[key]
        else:
            window.rows[key] = before

    def close(self, watermark_ms: int, outbox: Outbox) -> bool:
        closed = [window.close(watermark_ms) for window in self.windows.values()]
        lateness_ms = self._rules.allowed_lateness_ms
        return any(closed) or any(watermark_ms >= span.end_ms + lateness_ms for _, span in self._spans())

    def take(self, outbox: Outbox, watermark_ms: int | None) -> list[WindowChange]:
        changes = []
        over_ms = None if watermark_ms is None else watermark_ms - self._rules.allowed_lateness_ms
        for start_ms, span in self._spans():
            window = self.windows[start_ms]
            over = over_ms is not None and over_ms >= span.end_ms
            if over or window.changed or window.dirty:
                changes.append(change(self._rules, self._windower, window, outbox, over=over))
            if over:
                del self.windows[start_ms]
        return changes

    def send_unsent(self, outbox: Outbox) -> bool:
        sent = [send_unsent(self._rules, self._windower, w, w.rows, outbox) for w in self.windows.values()]
        return any(sent)

    def _spans(self) -> list[tuple[int, Span]]:
        return [(start_ms, window.span) for start_ms, window in self.windows.items()]

    @property
    def last_end_ms(self) -> int | None:
        return max((span.end_ms for _, span in self._spans() if span.end_ms < FAR_MS), default=None)

    @property
    def open(self) -> set[Span]:
        return {w.span for w in self.windows.values() if not w.final and w.span.end_ms < FAR_MS}
