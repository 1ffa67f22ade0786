"""`sparse log-level`: what the workers of a running topology write into their logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from stormline.cli import nimbus, tables

if TYPE_CHECKING:
    from stormline.cluster.topologies import Level


@click.command("log-level", short_help="Show or change the log levels of a running topology.")
@click.option(
    "-l",
    "--level",
    "wanted",
    multiple=True,
    metavar="LOGGER=LEVEL[:SECONDS]",
    help="Set the level of a logger, ROOT for all; with SECONDS not for good (workers look every half minute). "
    "May be repeated.",
)
@click.option("-r", "--remove", "removed", multiple=True, metavar="LOGGER", help="Take a level back. May be repeated.")
@nimbus.on_topology
def log_level(
    at: nimbus.Target,
    name: str,
    wanted: tuple[str, ...],
    removed: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the log levels that are set for a topology's workers, or change them while it runs; nothing is restarted.

    What Python components log goes through the loggers org.apache.storm.spout.ShellSpout and
    org.apache.storm.task.ShellBolt.
    """
    from stormline.cluster import topologies

    levels = dict(_level(text, topologies.LEVELS) for text in wanted)
    with nimbus.leader(at) as client:
        found = topologies.find(client, name)
        if levels or removed:
            topologies.set_levels(client, found, levels, removed)
        now = topologies.levels(client, found)
    if as_json:
        tables.tell_json(now)
    elif not now:
        click.echo(f"{found.name}: no level is set; its loggers are as the cluster's worker.xml says")
    else:
        tables.show(found.name, ("logger", "level", "ends"), [(each.logger, each.level, _ends(each)) for each in now])


def _level(text: str, known: tuple[str, ...]) -> tuple[str, tuple[str, int]]:
    logger, _, rest = text.partition("=")
    level, _, seconds = rest.partition(":")
    if not logger or level.upper() not in known or not (seconds or "0").isdigit():
        raise click.BadParameter(
            f"{text!r} is not LOGGER=LEVEL or LOGGER=LEVEL:SECONDS; levels: {', '.join(known)}", param_hint="--level"
        )
    return logger, (level.upper(), int(seconds or 0))


def _ends(level: Level) -> str:
    if level.until_s is None:
        return "never"
    left = level.until_s - time.time()
    return f"in {tables.duration(left)}, then {level.then or 'as before'}" if left > 0 else "has ended"
