"""`sparse stats`: Storm's own counters of what runs on a cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import nimbus, tables

if TYPE_CHECKING:
    from stormline.cluster.statistics import Component, Detail, Error, Stream
    from stormline.cluster.topologies import Listed

WATCH_EVERY_S = 2.0


class Shown(NamedTuple):
    """One topology. `details`: of the components that were asked for."""

    topology: Listed
    components: list[Component]
    details: list[Detail]


@click.command(short_help="Show what the components of a topology have done on a cluster.")
@click.option("-n", "--name", help="The topology. Without: all on the cluster.")
@click.option("-N", "--override-name", help="Its name on the cluster, if it was submitted under another.")
@click.option("-c", "--component", help="This component more closely: streams, executors, errors. Needs -n.")
@click.option("--all", "every", is_flag=True, help="Each component more closely.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C, with rates.")
@click.option(
    "--window", type=click.Choice(["10m", "3h", "1d", "all"]), default="all", show_default=True, help="The last ..."
)
@nimbus.on_cluster
def stats(
    at: nimbus.Target,
    name: str | None,
    override_name: str | None,
    component: str | None,
    every: bool,
    watch: bool,
    window: str,
    as_json: bool,
) -> None:
    """Show per component what Storm counts: emitted, transferred, executed, acked, failed, latencies in milliseconds,
    capacity (the share of the time a bolt was busy) and the last error.

    Workers report every minute, and count one tuple in twenty; `executor.metrics.frequency.secs` and
    `topology.stats.sample.rate` change that. The cluster of `sparse up` reports every second and counts all.
    """
    wanted = override_name or name
    if component and not wanted:
        raise click.UsageError("-c needs -n: the topology that has the component")

    def look() -> list[Shown]:
        with nimbus.leader(at) as client:
            return _look(client, wanted, component, window, every=every)

    if watch:
        _watch(look, as_json=as_json)
        return
    found = look()
    if as_json:
        tables.tell_json(found)
    elif not found:
        click.echo("No topology runs on this cluster")
    else:
        for each in found:
            _print(each)


def _look(client: Any, name: str | None, component: str | None, window: str, *, every: bool) -> list[Shown]:
    from stormline.cluster import statistics, topologies

    span = statistics.WINDOWS[window]
    chosen = [topologies.find(client, name, killed=True)] if name else topologies.listed(client)
    found = []
    for topology in chosen:
        components = statistics.of_topology(client, topology, span)
        asked = [each.component for each in components] if every else [component] if component else []
        details = [statistics.of_component(client, topology, each, span) for each in asked]
        found.append(Shown(topology, components, details))
    return found


def _watch(look: Any, *, as_json: bool) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    before: dict[tuple[str, str], int] = {}
    at_s: float | None = None
    live = Live(console=Console(highlight=False), auto_refresh=False) if sys.stdout.isatty() and not as_json else None
    try:
        if live is not None:
            live.start()
        while True:
            found: list[Shown] = look()
            now_s = time.monotonic()
            counts = {(each.topology.id, one.component): _done(one) for each in found for one in each.components}
            seconds = now_s - at_s if at_s is not None else 0.0
            rates = {
                key: max(0, count - before[key]) / seconds for key, count in counts.items() if key in before and seconds
            }
            if as_json:
                content = [
                    {
                        **tables.plain(each),
                        "per_s": {
                            one.component: rates.get((each.topology.id, one.component)) for one in each.components
                        },
                    }
                    for each in found
                ]
                tables.tell_json(content)
            elif live is not None:
                live.update(Group(*(_made(each, rates) for each in found)), refresh=True)
            else:
                for each in found:
                    tables.show_made(_made(each, rates))
            sys.stdout.flush()
            before, at_s = counts, now_s
            time.sleep(WATCH_EVERY_S)
    finally:
        if live is not None:
            live.stop()


def _done(component: Component) -> int:
    """What the rate is of: what a bolt executed, what of a spout's was acked, or emitted if nothing is acked."""
    return component.acked or component.emitted if component.executed is None else component.executed


def _made(shown: Shown, rates: Mapping[tuple[str, str], float] | None = None) -> Any:
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
    if rates is not None:
        headings.insert(4, "per s")
        for row, each in zip(rows, shown.components, strict=True):
            row.insert(4, _count(rates.get((topology.id, each.component))))
    return tables.made(title, headings, rows, left=2)


def _print(shown: Shown) -> None:
    tables.show_made(_made(shown))
    for each in shown.components:
        if each.last_error and not shown.details:
            click.echo(f"{each.component}: {_told(each.last_error)}")
    for detail in shown.details:
        click.echo(f"\n{detail.component} ({detail.kind})")
        if detail.inputs:
            tables.show("in", *_streams(detail.inputs), left=2)
        if detail.outputs:
            tables.show("out", *_streams(detail.outputs), left=2)
        headings = ("tasks", "host", "port", "uptime", "emitted", "executed", "acked", "failed", "capacity")
        rows = [
            (f"{each.first}-{each.last}", each.host, str(each.port), tables.duration(each.uptime_s))
            + (_count(each.emitted), _count(each.executed), _count(each.acked), _count(each.failed))
            + (_figure(each.capacity),)
            for each in detail.executors
        ]
        tables.show("executors", headings, rows, left=2)
        for error in detail.errors:
            click.echo(_told(error, whole=True))


def _streams(streams: Sequence[Stream]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    headings = ("component", "stream", "emitted", "transferred", "executed", "acked", "failed", "complete ms")
    rows = [
        (each.component or "-", each.stream)
        + tuple(_count(n) for n in (each.emitted, each.transferred, each.executed, each.acked, each.failed))
        + tuple(_figure(n) for n in (each.complete_ms, each.execute_ms, each.process_ms))
        for each in streams
    ]
    return (*headings, "execute ms", "process ms"), rows


def _told(error: Error, *, whole: bool = False) -> str:
    place = f" on {error.host}:{error.port}" if error.host else ""
    text = error.text.strip()
    lines = text.splitlines() if whole else text.splitlines()[:1]
    return f"error {tables.duration(time.time() - error.at_s)} ago{place}: " + "\n  ".join(lines)


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"
