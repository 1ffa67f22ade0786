"""Rows of windows that slide over panes, each pane's row merged about twice, however many panes a window has.

Two stacks (Tangwongsan, Hirzel, Schneider, "General incremental sliding-window aggregation", VLDB 2015): in front of a
boundary the sums from each pane to the boundary, behind it one running sum; a window is one of the first with the
second. When the window has left the boundary behind, the boundary moves to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from stormline.core.aggregate import Accumulators
from stormline.core.table import Window
from stormline.core.window import FAR_MS, Sliding

Rows = dict[str, Accumulators]
Merge = Callable[[Accumulators, Accumulators], Accumulators]


class Panes:
    """Sums over the rows of panes, by their starts. Windows are asked for in the order of their ends; others are
    answered too, at the cost of all their panes."""

    def __init__(self, merge: Merge, windower: Sliding, panes: Mapping[int, Window]) -> None:
        self._merge = merge
        self._windower = windower
        self._panes = panes
        self._front: dict[str, list[tuple[int, Accumulators]]] = {}
        """Key -> (start of a pane, sum from there to the middle), the latest first."""
        self._back: Rows = {}
        """Sums from the middle to the end."""
        self._start_ms = self._middle_ms = self._end_ms = -FAR_MS
        self._stale: set[str] = set()
        """Keys of which a pane before the end has changed."""

    @property
    def end_ms(self) -> int:
        """Where the window ends to which it has come."""
        return self._end_ms

    def clear(self) -> None:
        """There is no pane any more: neither is there anything to be remembered of one."""
        self._front, self._back = {}, {}
        self._start_ms = self._middle_ms = self._end_ms = -FAR_MS
        self._stale.clear()

    def changed(self, start_ms: int, keys: Iterable[str]) -> None:
        """These rows of the pane are others than before."""
        if start_ms < self._end_ms:
            self._stale.update(keys)

    def all_rows(self, start_ms: int, end_ms: int) -> Rows:
        """The rows of all keys in a window that closes."""
        if not self.advance(start_ms, end_ms):
            return self.direct(None, start_ms, end_ms)
        rows = dict(self._back)
        for key, sums in list(self._front.items()):
            while sums and sums[-1][0] < start_ms:
                sums.pop()
            if not sums:
                del self._front[key]
            else:
                back = rows.get(key)
                rows[key] = sums[-1][1] if back is None else self._merge(sums[-1][1], back)
        return rows

    def advance(self, start_ms: int, end_ms: int) -> bool:
        """Go on to this window; False: it is one of those before."""
        if start_ms < self._start_ms or end_ms < self._end_ms:
            return False
        if start_ms >= self._middle_ms:
            self._begin(start_ms, end_ms)
        else:
            for pane in self._between(self._end_ms, end_ms):
                self._add(self._back, pane.rows)
            self._start_ms, self._end_ms = start_ms, end_ms
        for key in self._stale:
            self._renew(key)
        self._stale.clear()
        return True

    def rows(self, keys: Iterable[str], start_ms: int, end_ms: int) -> Rows:
        """The rows of some keys in any window; those that have none are left out."""
        if start_ms < self._start_ms or end_ms < self._end_ms:
            return self.direct(set(keys), start_ms, end_ms)
        rows: Rows = {}
        loose = self._between(max(self._end_ms, start_ms), end_ms)
        for key in keys:
            if key in self._stale:
                self._renew(key)
                self._stale.discard(key)
            parts = self._suffix(key, start_ms)
            if key in self._back and start_ms <= self._middle_ms:
                parts.append(self._back[key])
            parts += [pane.rows[key] for pane in loose if key in pane.rows]
            if key in self._back and start_ms > self._middle_ms:
                return self.direct(set(keys), start_ms, end_ms)
            if parts:
                rows[key] = self._total(parts)
        return rows

    def _suffix(self, key: str, start_ms: int) -> list[Accumulators]:
        """The sum from here to the middle, if there is one."""
        sums = self._front.get(key, [])
        while sums and sums[-1][0] < self._start_ms:  # no window asks for these again
            sums.pop()
        return next(([total] for first_ms, total in reversed(sums) if first_ms >= start_ms), [])

    def _begin(self, start_ms: int, end_ms: int) -> None:
        self._front, self._back = {}, {}
        self._start_ms, self._middle_ms, self._end_ms = start_ms, end_ms, end_ms
        self._stale.clear()
        for pane in reversed(self._between(start_ms, end_ms)):
            for key, row in pane.rows.items():
                sums = self._front.setdefault(key, [])
                sums.append((pane.span.start_ms, self._merge(row, sums[-1][1]) if sums else row))

    def _renew(self, key: str) -> None:
        sums: list[tuple[int, Accumulators]] = []
        for pane in reversed(self._between(self._start_ms, self._middle_ms)):
            if key in pane.rows:
                row = pane.rows[key]
                sums.append((pane.span.start_ms, self._merge(row, sums[-1][1]) if sums else row))
        parts = [pane.rows[key] for pane in self._between(self._middle_ms, self._end_ms) if key in pane.rows]
        self._front.pop(key, None)
        self._back.pop(key, None)
        if sums:
            self._front[key] = sums
        if parts:
            self._back[key] = self._total(parts)

    def keys(self, start_ms: int, end_ms: int) -> set[str]:
        """All keys in a window."""
        return set().union(*(pane.rows for pane in self._between(start_ms, end_ms)))

    def direct(self, keys: set[str] | None, start_ms: int, end_ms: int) -> Rows:
        """The rows of all keys (None) or of some, by nothing that is remembered."""
        rows: Rows = {}
        for pane in self._between(start_ms, end_ms):
            self._add(rows, pane.rows if keys is None else {key: pane.rows[key] for key in keys & pane.rows.keys()})
        return rows

    def _add(self, rows: Rows, more: Mapping[str, Accumulators]) -> None:
        for key, row in more.items():
            before = rows.get(key)
            rows[key] = row if before is None else self._merge(before, row)

    def _total(self, parts: list[Accumulators]) -> Accumulators:
        total = parts[0]
        for part in parts[1:]:
            total = self._merge(total, part)
        return total

    def _between(self, start_ms: int, end_ms: int) -> list[Window]:
        """The panes from `start_ms` to before `end_ms`, in their order."""
        panes, pane_ms = self._panes, self._windower.pane_ms
        if (end_ms - start_ms) // pane_ms > len(panes):
            return [panes[at] for at in sorted(panes) if start_ms <= at < end_ms]
        first_ms = self._windower.span(start_ms + pane_ms - 1).start_ms
        return [panes[at] for at in range(first_ms, end_ms, pane_ms) if at in panes]
