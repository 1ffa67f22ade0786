"""`sparse reslot`: another number of slots for what is stored of an app."""

from __future__ import annotations

from pathlib import Path

import click

from stormline.cli import config


@click.command(short_help="Spread what is stored of an app over another number of slots, while it does not run.")
@click.option("-n", "--name", help="The topology; else a name of its own, for another app of the main one.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.pass_obj
def reslot(start: Path, /, name: str | None, env_name: str | None) -> None:
    """Spread what is stored of an app over as many slots as its topology says (`stormline.slots` of its config).

    Nothing of the app may run meanwhile, on a cluster either: a run that does is shut out, and ends. All of it changes,
    or nothing does.
    """
    from stormline.cli import topologies
    from stormline.cli.servers import stored
    from stormline.components.graph import slots
    from stormline.connectors.slots import change_slots, stored_slots

    project = config.find_project(start)
    env = project.environment(env_name)
    loaded = topologies.load(project, name)
    wanted = slots(loaded.topology)
    with stored(project, env, lambda line: click.echo(line, err=True)) as client:
        had = stored_slots(client, loaded.app)
        moved = change_slots(client, loaded.app, wanted)
    if had == wanted:
        click.echo(f"{loaded.app} has {had} slots already")
    else:
        click.echo(f"{loaded.app} had {had} slots and has {wanted}; {moved:,} rows have moved")
