"""How the counters of a topology are shown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from stormline.cli import tables

if TYPE_CHECKING:
    from rich.table import Table

    from stormline.cluster.statistics import Component, Detail, Error
    from stormline.cluster.topologies import Listed


class Shown(NamedTuple):
    """One topology. `details`: of the components that were asked for. `per_s`: component -> its rate since the look
    before; None if there was none.
    """

    topology: Listed
    components: list[Component]
    details: list[Detail]
    per_s: Mapping[str, float | None] | None = None


def overview(shown: Shown) -> Table:
    """A row for each component."""
    topology = shown.topology
    title = f"{topology.name}  {topology.status}  up {tables.duration(topology.uptime_s)}  {topology.workers} workers"
    headings = ["component", "kind", "executors", "tasks", "emitted", "transferred", "executed", "acked", "failed"]
    headings += ["complete ms", "execute ms", "process ms", "capacity", "last error"]
    rows = [
        [each.component, each.kind, str(each.executors), str(each.tasks)]
        + [_count(number) for number in (each.emitted, each.transferred, each.executed, each.acked, each.failed)]
        + [_figure(number) for number in (each.complete_ms, each.execute_ms, each.process_ms, each.capacity)]
        + [f"{tables.duration(time.time() - each.last_error.at_s)} ago" if each.last_error else "-"]
        for each in shown.components
    ]
    if shown.per_s is not None:
        headings.insert(4, "per s")
        for row, each in zip(rows, shown.components, strict=True):
            row.insert(4, _count(shown.per_s[each.component]))
    return tables.made(title, headings, rows, left=2)


def show(shown: Shown) -> None:
    tables.print_wide(overview(shown))
    for each in shown.components:
        if each.last_error and not shown.details:
            click.echo(f"{each.component}: {_told(each.last_error)}")
    for detail in shown.details:
        _show_detail(detail)


def _show_detail(detail: Detail) -> None:
    click.echo(f"\n{detail.component} ({detail.kind})")
    if detail.inputs:
        headings = ["from", "stream", "executed", "acked", "failed", "execute ms", "process ms"]
        rows = [
            [each.component, each.stream, *map(_count, (each.executed, each.acked, each.failed))]
            + [_figure(each.execute_ms), _figure(each.process_ms)]
            for each in detail.inputs
        ]
        tables.show("in", headings, rows, left=2)
    if detail.outputs:
        headings = ["stream", "emitted", "transferred", "acked", "failed", "complete ms"]
        rows = [
            [each.stream, *map(_count, (each.emitted, each.transferred, each.acked, each.failed))]
            + [_figure(each.complete_ms)]
            for each in detail.outputs
        ]
        tables.show("out", headings, rows)
    headings = ["tasks", "host", "port", "uptime", "emitted", "executed", "acked", "failed", "capacity"]
    rows = [
        [f"{each.first}-{each.last}", each.host, str(each.port), tables.duration(each.uptime_s)]
        + [_count(each.emitted), _count(each.executed), _count(each.acked), _count(each.failed)]
        + [_figure(each.capacity)]
        for each in detail.executors
    ]
    tables.show("executors", headings, rows, left=2)
    for error in detail.errors:
        click.echo(_told(error, whole=True))


def _told(error: Error, *, whole: bool = False) -> str:
    place = f" on {error.host}:{error.port}" if error.host else ""
    lines = error.text.strip().splitlines()
    told = lines if whole else [gist(lines)]
    return f"error {tables.duration(time.time() - error.at_s)} ago{place}: " + "\n  ".join(told)


def gist(lines: Sequence[str]) -> str:
    """The line of an error that says what it was: where it holds a Python traceback, what was raised."""
    raised, in_python = lines[0] if lines else "", False
    for line in lines:
        if "Traceback (most recent call last):" in line:
            in_python = True
        elif in_python and line.strip() and not line[0].isspace():
            raised, in_python = line, False
    return raised


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"
