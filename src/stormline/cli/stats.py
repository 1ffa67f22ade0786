"""`sparse stats`: Storm's own counters of what runs on a cluster."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from stormline.cli import nimbus, stats_tables, tables

if TYPE_CHECKING:
    from stormline.cli.stats_tables import Shown
    from stormline.cluster.statistics import Component

WATCH_EVERY_S = 2.0


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
            stats_tables.show(each)


def _look(client: Any, name: str | None, component: str | None, window: str, *, every: bool) -> list[Shown]:
    from stormline.cluster import statistics, topologies

    span = statistics.WINDOWS[window]
    chosen = [topologies.find(client, name, killed=True)] if name else topologies.listed(client)
    found = []
    for topology in chosen:
        components = statistics.of_topology(client, topology, span)
        asked = [each.component for each in components] if every else [component] if component else []
        details = [statistics.of_component(client, topology, each, span) for each in asked]
        found.append(stats_tables.Shown(topology, components, details))
    return found


def _watch(look: Callable[[], list[Shown]], *, as_json: bool) -> None:
    """Redrawn on a terminal, one below the other elsewhere, a line of JSON each with --json."""
    from rich.console import Console, Group
    from rich.live import Live

    before: dict[tuple[str, str], int] = {}
    at_s = 0.0
    with ExitStack() as stack:
        live = None
        if sys.stdout.isatty() and not as_json:
            live = stack.enter_context(Live(console=Console(highlight=False), auto_refresh=False))
        while True:
            found, now_s = look(), time.monotonic()
            counts = {(each.topology.id, one.component): _done(one) for each in found for one in each.components}
            rates = {key: max(0, counts[key] - before[key]) / (now_s - at_s) for key in counts.keys() & before.keys()}
            before, at_s = counts, now_s
            found = [
                each._replace(
                    per_s={one.component: rates.get((each.topology.id, one.component)) for one in each.components}
                )
                for each in found
            ]
            if as_json:
                click.echo(json.dumps(tables.plain(found)))
            elif live is not None:
                live.update(Group(*map(stats_tables.overview, found)), refresh=True)
            else:
                for each in found:
                    tables.print_wide(stats_tables.overview(each))
            time.sleep(WATCH_EVERY_S)


def _done(component: Component) -> int:
    """What the rate is of: what a bolt executed, what of a spout's was acked, or emitted if nothing is acked."""
    return component.acked or component.emitted if component.executed is None else component.executed
