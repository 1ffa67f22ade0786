"""The end of a run: that nothing disappeared, what came out, how long it took, and what to try next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple

from stormline.cli.rows import amount, quotients, shown, table, window
from stormline.cli.screen import Statuses
from stormline.cli.sections import Section, Top
from stormline.cli.topologies import is_keyed

if TYPE_CHECKING:
    from stormline.connectors.results import Results, Row

Inputs = Mapping[str, Sequence[str]]
"""Component -> the components it reads records from; none for a spout."""


class Account(NamedTuple):
    """Where the records went on their way from the spouts to `kept_by`, the last component before the keyed ones."""

    kept_by: str
    read: int
    replayed: int
    kept: int
    dropped: int
    broken: int
    waiting: int
    """Read, but not sent on when the run was stopped; the next run reads it again."""

    @property
    def lost(self) -> int:
        """0, or what was on its way to a task when that was made anew; it was read again."""
        return self.read + self.replayed - self.kept - self.dropped - self.broken - self.waiting

    def told(self) -> str:
        """`69,659 read = 69,173 kept + 486 dropped + 0 broken`; the other figures only if they are not 0."""
        left = f"{self.read:,} read" + (f" + {self.replayed:,} read again" if self.replayed else "")
        right = f"{self.kept:,} kept + {self.dropped:,} dropped + {self.broken:,} broken"
        # Below 0 where a worker died and its figures with it, which is told in a line of its own.
        waiting = f" + {self.waiting:,} not sent on" if self.waiting > 0 else ""
        lost = f" + {self.lost:,} on their way to a task that was made anew" if self.lost > 0 else ""
        return f"{left} = {right}{waiting}{lost}"


def accounts(statuses: Statuses, inputs: Inputs) -> list[Account]:
    """One for each component without results that feeds one with results."""
    keyed = {name for name, tasks in statuses.items() if any(task.open_windows is not None for task in tasks)}
    last = [name for name in statuses if name not in keyed and any(name in inputs[other] for other in keyed)]
    return [_account(name, statuses, inputs) for name in last]


def told(accounts: Sequence[Account]) -> list[str]:
    """A line for each; of several each says whose it is."""
    if len(accounts) == 1:
        return [accounts[0].told()]
    return [f"{account.kept_by}: {account.told()}" for account in accounts]


def _account(kept_by: str, statuses: Statuses, inputs: Inputs) -> Account:
    way = {kept_by}
    while above := {name for below in way for name in inputs[below]} - way:
        way |= above

    def total(figure: str, names: Iterable[str]) -> int:
        return sum(getattr(task, figure) for name in names for task in statuses[name])

    spouts = [name for name in way if not inputs[name]]
    read, replayed = total("records_in", spouts), total("replayed", spouts)
    return Account(
        kept_by,
        read,
        replayed,
        total("records_out", [kept_by]),
        total("dropped", way),
        total("broken", way),
        read + replayed - total("broken", spouts) - total("records_out", spouts),
    )


def counted(statuses: Statuses) -> Iterator[str]:
    """One line for each component with results: what it did with the records that it was sent."""
    for name, tasks in statuses.items():
        if all(task.open_windows is None for task in tasks):
            continue
        parts = [f"{sum(task.records_out for task in tasks):,} counted"]
        for figure, word in (("replayed", "already counted before"), ("late", "late"), ("broken", "broken")):
            if (many := sum(getattr(task, figure) for task in tasks)) > 0:
                parts.append(f"{many:,} {word}")
        still_open = sum(task.open_windows or 0 for task in tasks)
        windows = "1 window" if still_open == 1 else f"{still_open:,} windows"
        yield f"{name}: {', '.join(parts)}; " + (f"{windows} open" if still_open else "every window closed")


class Best(NamedTuple):
    """The window with the largest sum, and its rows with the most."""

    start: str
    total: Decimal
    keys: int
    rows: list[Row]


def best(rows: Iterable[Row], section: Top) -> Best | None:
    """One pass; `rows` come window by window. None if there are none, or `by` is no number in any."""
    found: Best | None = None
    for group in _by_window(rows):
        figures = [(number, row) for row in group if (number := amount(row.values.get(section.by))) is not None]
        total = sum((number for number, _ in figures), Decimal(0))
        if figures and (found is None or total > found.total):
            top = nlargest(section.n, figures, key=lambda pair: pair[0])
            found = Best(window(group[0]), total, len(group), [row for _, row in top])
    return found


def _by_window(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        if group and row.start_ms != group[0].start_ms:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


class Shown(NamedTuple):
    """Sections as lines, and the commands that show more of them."""

    lines: list[str]
    commands: list[str]


def sections(results: Results, wanted: Sequence[Section], topology: Any) -> Shown:
    """What the topology wants shown, read back from Redis."""
    rounded = {spec.name: quotients(spec.component_cls) for spec in topology.specs if is_keyed(spec)}
    shown_ = Shown([], [])
    for section in wanted:
        draw = _top if isinstance(section, Top) else _rows
        part = draw(results, section, rounded[section.component])
        shown_.lines.extend(part.lines)
        shown_.commands.extend(part.commands)
    return shown_


def _top(results: Results, section: Any, rounded: Collection[str]) -> Shown:
    found = best(results.rows(section.component), section)
    if found is None:
        return Shown(["", f"{section.component}: no results"], [])
    title = section.title or f"{section.component}: the {len(found.rows)} with most {section.by} in {{window}}"
    title = title.format(window=found.start)
    title += f" ({shown(str(found.total))} {section.by} in all, {found.keys:,} keys)"
    key = found.rows[0].key
    command = f"results {section.component}" + (f" --key {shown(key)}" if key is not None else "")
    return Shown(["", title, *table(found.rows, rounded=rounded)], [command])


def _rows(results: Results, section: Any, rounded: Collection[str]) -> Shown:
    rows = list(results.rows(section.component))
    title = section.title or section.component
    head, tail = rows[: section.n], rows[section.n :][-section.n :]
    lines = table([*head, *tail], rounded=rounded)
    if len(head) + len(tail) < len(rows):
        lines.insert(1 + len(head), f"... {len(rows) - len(head) - len(tail):,} more")
    return Shown(["", f"{title}: {len(rows):,}", *lines], [f"results {section.component} --limit 0"])
