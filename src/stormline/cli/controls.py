"""`sparse kill`, `activate`, `deactivate`, `rebalance`: what can be done to a topology on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stormline.cli import nimbus, tables

if TYPE_CHECKING:
    from stormline.cluster.topologies import Listed


@click.command(short_help="Kill a topology on a cluster.")
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    help="Seconds for what is on its way, spouts at rest, before the workers end.",
)
@nimbus.on_topology
def kill(at: nimbus.Target, name: str, wait_s: int, as_json: bool) -> None:
    """Kill a topology: its spouts rest at once, and its workers end after --wait seconds.

    It need not be one of this project. While it waits it can be killed again with a shorter --wait.
    """
    from stormline.cluster import topologies
    from stormline.cluster.nimbus import kill as kill_topology

    with nimbus.leader(at) as client:
        found = topologies.find(client, name, killed=True)
        kill_topology(client, found.name, wait_s)
    _done(found, f"is killed; its workers end in {wait_s} s", as_json, status="KILLED", wait_s=wait_s)


@click.command(short_help="Let the spouts of a topology go on.")
@nimbus.on_topology
def activate(at: nimbus.Target, name: str, as_json: bool) -> None:
    """Let the spouts of a topology emit again, after `deactivate` or `submit -i`."""
    from stormline.cluster import topologies

    with nimbus.leader(at) as client:
        found = topologies.find(client, name)
        client.activate(found.name)
    how = "was active already" if found.status == "ACTIVE" else "is active: its spouts emit"
    _done(found, how, as_json, status="ACTIVE")


@click.command(short_help="Let the spouts of a topology rest.")
@nimbus.on_topology
def deactivate(at: nimbus.Target, name: str, as_json: bool) -> None:
    """Let the spouts of a topology rest. What is on its way is finished; workers and what they hold stay."""
    from stormline.cluster import topologies

    with nimbus.leader(at) as client:
        found = topologies.find(client, name)
        client.deactivate(found.name)
    how = "was inactive already" if found.status == "INACTIVE" else "is inactive: its spouts rest"
    _done(found, how, as_json, status="INACTIVE")


@click.command(short_help="Deal a topology out anew over the cluster's workers.")
@click.option(
    "-w",
    "--wait",
    "wait_s",
    type=click.IntRange(0),
    help="Seconds for what is on its way, spouts at rest, before it begins. Default: the topology's message time-out.",
)
@click.option("--workers", type=click.IntRange(1), help="How many workers it is to have.")
@click.option(
    "-p",
    "--par",
    "pars",
    multiple=True,
    metavar="COMPONENT=N",
    help="How many executors a component is to have, at most one for each of its tasks. May be repeated.",
)
@nimbus.on_topology
def rebalance(
    at: nimbus.Target,
    name: str,
    wait_s: int | None,
    workers: int | None,
    pars: tuple[str, ...],
    as_json: bool,
) -> None:
    """Deal the executors of a topology out anew, over workers that have come or with other numbers.

    Its workers are started again. Without --workers and --par the numbers stay.
    """
    from stormline.cluster import topologies

    executors = dict(_par(text) for text in pars)
    with nimbus.leader(at) as client:
        found = topologies.find(client, name)
        topologies.rebalance(client, found, wait_s=wait_s, workers=workers, executors=executors)
    when = "after its message time-out" if wait_s is None else f"in {wait_s} s"
    asked = {"wait_s": wait_s, "workers": workers, "executors": executors}
    _done(found, f"is dealt out anew {when}", as_json, status="REBALANCING", **asked)


def _par(text: str) -> tuple[str, int]:
    component, _, number = text.rpartition("=")
    if not component or not number.isdigit() or int(number) < 1:
        raise click.BadParameter(f"{text!r} is not COMPONENT=N with N from 1 on", param_hint="--par")
    return component, int(number)


def _done(topology: Listed, what: str, as_json: bool, **facts: Any) -> None:
    if as_json:
        tables.tell_json({"name": topology.name, "id": topology.id, **facts})
    else:
        click.echo(f"{topology.name} {what}")
