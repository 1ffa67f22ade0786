"""What the verbs that speak to a cluster have in common: their options, the environment, the topology."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import config
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.cluster.nimbus_settings import NimbusSettings
    from stormline.cluster.ssh import Ssh

TIMEOUT_MS = 7000
"""As in streamparse."""


class Target(NamedTuple):
    """The cluster that is meant."""

    project: config.Project
    environment: config.Environment
    settings: NimbusSettings
    timeout_ms: int

    @property
    def access(self) -> Ssh:
        """How to log in at the workers' machines."""
        from stormline.cluster.ssh import Ssh

        stock = self.environment.stock
        return Ssh(stock.get("user") or None, stock.get("ssh_port") or None)


def on_cluster(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -e, --timeout and --json; `verb` is called with the Target, and `as_json`."""

    @click.option("-e", "--environment", "env_name", help='From config.json. Not needed if only one has "nimbus".')
    @click.option(
        "--timeout",
        "timeout_ms",
        type=click.IntRange(1),
        default=TIMEOUT_MS,
        show_default=True,
        help="Milliseconds to wait for an answer of Nimbus.",
    )
    @click.option("--json", "as_json", is_flag=True, help="As JSON.")
    @click.pass_obj
    @functools.wraps(verb)
    def targeted(start: Path, /, env_name: str | None, timeout_ms: int, **options: Any) -> None:
        verb(target(start, env_name, timeout_ms), **options)

    return targeted


def on_topology(verb: Callable[..., Any]) -> Callable[..., Any]:
    """As `on_cluster`, and adds -n and -N: `verb` gets `name`, that of a topology on the cluster."""

    @click.option("-n", "--name", help="The topology. Without: the project's main one, or its only one.")
    @click.option("-N", "--override-name", help="Its name on the cluster, if it was submitted under another.")
    @on_cluster
    @functools.wraps(verb)
    def named(at: Target, /, name: str | None, override_name: str | None, **options: Any) -> None:
        from stormline.cli import topologies

        # It need be none of this project if it is given.
        verb(at, name=override_name or name or topologies.choose(at.project, None)[1], **options)

    return named


def target(start: Path, env_name: str | None, timeout_ms: int = TIMEOUT_MS) -> Target:
    """Raises SettingsError: no project, no such environment, no Nimbus or several to choose from."""
    from stormline.cluster import nimbus_settings

    project = config.find_project(start)
    environment = choose_environment(project, env_name)
    settings = nimbus_settings.read(environment.name, environment.stock, project.root, os.environ)
    return Target(project, environment, settings, timeout_ms)


@contextmanager
def leader(at: Target) -> Iterator[Any]:
    """A client of the Nimbus that leads."""
    from stormline.cluster.nimbus import connect_leader

    with connect_leader(at.settings, at.timeout_ms) as client:
        yield client


def choose_environment(project: config.Project, name: str | None) -> config.Environment:
    """The one named, or the only one with a Nimbus. Raises SettingsError."""
    if name is not None:
        return project.environment(name)
    known = [each for each in project.environments.values() if each.stock.get("nimbus")]
    if len(known) == 1:
        return known[0]
    if len(project.environments) == 1:
        return next(iter(project.environments.values()))
    if not known:
        raise SettingsError(
            f'no environment of {project.root / config.FILE} names a Nimbus: set "nimbus": "host:port" in one of '
            f"{', '.join(project.environments) or 'its envs'}, or start a cluster here with `sparse up`"
        )
    raise SettingsError(f"several environments have a Nimbus; say which with -e: {', '.join(e.name for e in known)}")
