"""What one sees while a topology runs: one line a component, redrawn on a terminal, printed each second elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from rich.table import Table

    from stormline.core.status import Status

Statuses = Mapping[str, Sequence["Status"]]
"""Component -> the status of each of its tasks, as the engine tells it."""
PLAIN_EVERY_S = 1.0
REDRAW_EVERY_S = 0.25


class Line(NamedTuple):
    """One component, its tasks together. Rates are records a second; None where a figure has no meaning."""

    component: str
    in_rate: float
    out_rate: float
    lag: int | None
    watermark_ms: int | None
    open_windows: int | None
    late: int
    failed: int
    broken: int
    dropped: int


def lines(before: Statuses, now: Statuses, seconds: float) -> list[Line]:
    """`before`: the statuses of `seconds` ago, empty at the start. A task made anew since then counts from 0 again."""
    return [_line(component, before.get(component, ()), tasks, seconds) for component, tasks in now.items()]


def _line(component: str, before: Sequence[Status], tasks: Sequence[Status], seconds: float) -> Line:
    def rate(name: str) -> float:
        grown = sum(getattr(task, name) for task in tasks) - sum(getattr(task, name) for task in before)
        return max(0, grown) / seconds if seconds > 0 else 0.0

    lags = [task.lag for task in tasks if task.lag is not None]
    watermarks = [task.watermark_ms for task in tasks]
    windows = [task.open_windows for task in tasks if task.open_windows is not None]
    return Line(
        component,
        rate("records_in"),
        rate("records_out"),
        sum(lags) if lags else None,
        # A window closes when the slowest task has passed it; a task that has none yet holds back the component.
        None if not watermarks or None in watermarks else min(w for w in watermarks if w is not None),
        max(windows) if windows else None,
        sum(task.late for task in tasks),
        sum(task.failed for task in tasks),
        sum(task.broken for task in tasks),
        sum(task.dropped for task in tasks),
    )


def date(ms: int | None) -> str:
    """1997-03-01, with the time of day if there is one (UTC)."""
    if ms is None:
        return "-"
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{at:%Y-%m-%d}" if ms % 86_400_000 == 0 else f"{at:%Y-%m-%d %H:%M:%S}"


def cells(rows: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and the texts below them; `broken` and `dropped` only if there is any."""
    names = ["component", "in/s", "out/s", "lag", "watermark", "open", "late", "failed"]
    extra = [name for name in ("broken", "dropped") if any(getattr(row, name) for row in rows)]
    table = [
        [row.component, _count(row.in_rate), _count(row.out_rate), _count(row.lag), date(row.watermark_ms)]
        + [_count(row.open_windows), _count(row.late), _count(row.failed)]
        + [_count(getattr(row, name)) for name in extra]
        for row in rows
    ]
    return names + extra, table


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


WIDTH = 100
"""Characters of one value, at most."""


def printable(text: str) -> str:
    """Without control characters, which the terminal would obey: what came in a record is not to be trusted."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def clipped(text: str) -> str:
    """The first of it, where it would push all else off the line; printable."""
    return printable(text if len(text) <= WIDTH else f"{text[:WIDTH]}...")


def aligned(names: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """The headings and rows as lines of text; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [names, *table]) for i in range(len(names))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in [names, *table]
    ]


class Screen(Protocol):
    """Where a run is shown."""

    def show(self, statuses: Statuses, at_s: float) -> None:
        """The state at `at_s` seconds, which must not change any more; called more often than it is drawn."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def close(self) -> None: ...


def open_screen() -> Screen:
    """A live table if stdout is a terminal that can redraw, else plain lines."""
    import os

    return LiveScreen() if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" else PlainScreen()


class PlainScreen:
    """Each second the table again, below the last."""

    def __init__(self) -> None:
        self._out = sys.stdout  # kept: while user code runs in this thread, `sys.stdout` is its log
        self._before: Statuses = {}
        self._at_s: float | None = None

    def show(self, statuses: Statuses, at_s: float) -> None:
        if self._at_s is not None and at_s - self._at_s < PLAIN_EVERY_S:
            return
        rows = lines(self._before, statuses, 0 if self._at_s is None else at_s - self._at_s)
        self._before, self._at_s = statuses, at_s
        print(
            f"after {at_s:.1f} s",
            *(f"  {line}" for line in aligned(*cells(rows))),
            sep="\n",
            file=self._out,
            flush=True,
        )

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def close(self) -> None:
        pass


class LiveScreen:
    """One table, redrawn in place; what is said scrolls away above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=sys.stdout, highlight=False), auto_refresh=False, transient=False)
        self._live.start()
        self._before: Statuses = {}
        self._at_s: float | None = None

    def show(self, statuses: Statuses, at_s: float) -> None:
        if self._at_s is not None and at_s - self._at_s < REDRAW_EVERY_S:
            return
        rows = lines(self._before, statuses, 0 if self._at_s is None else at_s - self._at_s)
        self._before, self._at_s = statuses, at_s
        self._live.update(_table(rows, at_s), refresh=True)

    def say(self, text: str) -> None:
        self._live.console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


def _table(rows: Sequence[Line], at_s: float) -> Table:
    from rich.table import Table

    names, texts = cells(rows)
    table = Table(title=f"after {at_s:.1f} s", title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(names):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in texts:
        table.add_row(*row)
    return table
