"""`sparse submit`: a topology onto a cluster. First everything that can be wrong, then the cluster."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import config

if TYPE_CHECKING:
    from stormline.connectors.versions import Choice

WAIT_S = 60


class Options(NamedTuple):
    """What was said on the command line."""

    name: str | None
    override_name: str | None
    env_name: str | None
    options: Sequence[str]
    workers: int | None
    ackers: int | None
    debug: bool
    force: bool
    active: bool
    state: Choice | None
    wait_s: int | None
    dry_run: bool
    local_jar: Path | None
    remote_jar: str | None
    requirements: Sequence[Path]
    overwrite_virtualenv: bool
    timeout_ms: int


@click.command(short_help="Submit a topology to the Storm cluster of an environment.")
@click.option("-n", "--name", help="The topology; else a name of its own, for another app of the main one.")
@click.option("-N", "--override-name", help="Submit it under this name.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: the one that names a nimbus]")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="A setting of Storm's or your own.")
@click.option("-w", "--workers", type=click.IntRange(1), help="Worker processes.  [default: one a machine]")
@click.option("-a", "--ackers", type=click.IntRange(0), help="Acker executors.  [default: one a worker]")
@click.option("-d", "--debug", is_flag=True, help="topology.debug: each emitted tuple in the logs.")
@click.option("-f", "--force", is_flag=True, help="Replace the one that runs: deactivate, drain, kill, submit.")
@click.option(
    "--state",
    type=click.Choice(["keep", "migrate", "drop"]),
    help="What becomes of the state of bolts that have changed.",
)
@click.option("-i", "--inactive", "active", flag_value=False, default=True, help="Submit it deactivated.")
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=WAIT_S,
    metavar="[SECONDS]",
    help=f"Return when all executors run and a first tuple is acked, within so many seconds ({WAIT_S}). With --force "
    "the old one may drain for as long.",
)
@click.option("--dry-run", is_flag=True, help="Show the topology, its configuration and the JAR; no more.")
@click.option(
    "-j",
    "--local-jar-path",
    "local_jar",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JAR that was built before.",
)
@click.option("-R", "--remote-jar-path", "remote_jar", help="A JAR that is on Nimbus already.")
@click.option(
    "-r",
    "--requirements",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the workers need.  [default: virtualenvs/TOPOLOGY.txt]",
)
@click.option("--overwrite-virtualenv", is_flag=True, help="Make the virtualenv anew.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="ms for Nimbus to answer.",
)
@click.pass_obj
def submit(start: Path, /, **options: Any) -> None:
    """Submit a topology to the Storm cluster of an environment.

    The JAR is made here, of src/ and the wheels of virtualenvs/TOPOLOGY.txt, so that the workers need nothing but a
    Python. Nothing is sent before all of it has been tried.
    """
    _submit(start, Options(**options))


def _submit(start: Path, said: Options) -> None:
    from stormline.cli import hooks, planning
    from stormline.cli.submitting import Submission

    project = config.find_project(start)
    plan = planning.plan(project, said)
    modules = [] if said.dry_run else hooks.load(project.root)
    hooks.call(modules, "pre_submit", plan.app, plan.env.name, plan.env.stock, plan.conf)
    with tempfile.TemporaryDirectory(prefix="stormline-") as folder:
        jar = planning.jar_of(project, plan, said, Path(folder) / f"{plan.app}.jar", _tell)
        if said.dry_run:
            click.echo("\n".join(planning.shown(plan, jar)))
            return
        Submission(plan, said, _tell, _told_bytes).run(jar)
    hooks.call(modules, "post_submit", plan.app, plan.env.name, plan.env.stock, plan.conf)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _told_bytes(sent: int, total: int) -> None:
    """The progress of the upload, where somebody looks at it."""
    if sys.stderr.isatty():
        click.echo(f"\ruploaded {sent:,} of {total:,} bytes", err=True, nl=sent == total)


@click.command(short_help="Build the JAR of a topology, and no more.")
@click.option("-n", "--name", help="The topology.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: the one that names a nimbus]")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: _build/TOPOLOGY.jar]")
@click.option(
    "-r",
    "--requirements",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the workers need.  [default: virtualenvs/TOPOLOGY.txt]",
)
@click.pass_obj
def jar(start: Path, name: str | None, env_name: str | None, output: Path | None, requirements: Sequence[Path]) -> None:
    """Build the JAR that `submit` would send, and try every component in a copy of it. The same content gives the same
    bytes."""
    from stormline.cli import shipping, topologies
    from stormline.cli.nimbus import choose_environment
    from stormline.cli.worker_python import worker_python

    project = config.find_project(start)
    env = choose_environment(project, env_name)
    loaded = topologies.load(project, name)
    files = shipping.requirement_files(project, loaded, requirements)
    target = output or project.root / "_build" / f"{loaded.path.stem}.jar"
    made = shipping.build(project, loaded, worker_python(env, loaded.app), files, target, _tell)
    click.echo(f"{made}: {made.stat().st_size:,} bytes")
