"""`sparse up`, `sparse down`, `sparse status`: a real Storm cluster with Kafka and Redis on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormline.cli import config

if TYPE_CHECKING:
    from stormline.cluster.cluster import Cluster, Line

FOLDER = "cluster"
JARS = "jars"


@click.command(short_help="Start a real Storm cluster with Kafka and Redis on this machine.")
@click.pass_obj
def up(start: Path) -> None:
    """Start ZooKeeper, Nimbus, Supervisor, Kafka and Redis on this machine, and wait until each answers.

    The first time, Maven fetches Storm and Kafka (about 250 MB). What runs already is left alone; what has crashed is
    started again, with its data.
    """
    project = config.find_project(start)
    _cluster(project).up(_tell)
    click.echo('The cluster is up: environment "cluster". sparse status, sparse down')


@click.command(short_help="Stop the cluster that `up` started; its data stays.")
@click.pass_obj
def down(start: Path) -> None:
    """Stop the cluster: the workers of its topologies too. All data stays, and topologies come back with `up`."""
    _cluster(config.find_project(start)).down(_tell)
    click.echo("The cluster is down; its data stays")


@click.command(short_help="Show the cluster's parts: process, port, memory, log.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object.")
@click.pass_obj
def status(start: Path, as_json: bool) -> None:
    """Show each part of the cluster and each worker: process, port, memory, log file; and what is missing for it.

    Exit code 0 if all parts run, 1 if not.
    """
    project = config.find_project(start)
    found = _cluster(project).status()
    if as_json:
        content = {
            kind: [{**line._asdict(), "log": str(line.log)} for line in getattr(found, kind)]
            for kind in ("parts", "workers")
        }
        click.echo(json.dumps({**content, "missing": found.missing}, indent=2))
    else:
        _show([*found.parts, *found.workers], project.root)
        for fault in found.missing:
            click.echo(f"missing: {fault}")
    if any(line.state != "running" for line in found.parts):
        sys.exit(1)


def _show(lines: list[Line], root: Path) -> None:
    rows = [("part", "state", "process", "port", "memory", "log")]
    for line in lines:
        log = line.log.relative_to(root) if line.log.is_relative_to(root) else line.log
        memory = f"{line.memory_kb / 1024:.0f} MB" if line.pid else ""
        rows.append((line.name, line.state, str(line.pid or ""), str(line.port), memory, str(log)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    ended = [line.name for line in lines if line.state == "ended"]
    if ended:
        click.echo(f"{', '.join(ended)} crashed: `sparse up` starts again what does not run")


def _cluster(project: config.Project) -> Cluster:
    from stormline.cluster.cluster import Cluster
    from stormline.cluster.settings import Settings

    given = dict(project.cluster)
    if "worker_ports" in given:
        given["worker_ports"] = tuple(given["worker_ports"])
    return Cluster(project.state / FOLDER, project.state / JARS, Settings(**given))


def _tell(line: str) -> None:
    click.echo(line, err=True)
