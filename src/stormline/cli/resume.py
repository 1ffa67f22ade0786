"""`sparse resume`: let an app go on that halted itself because going on might have lost or repeated records."""

from __future__ import annotations

from pathlib import Path

import click

from stormline.cli import config


@click.command(short_help="Clear the halt of a topology, once its cause is understood.")
@click.option("-n", "--name", help="The topology, or the name it was run under.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.pass_obj
def resume(start: Path, name: str | None, env_name: str | None) -> None:
    """Clear a halt.

    A topology halts when Redis and Kafka contradict each other. If Redis has lost data, `sparse run --fresh` computes
    everything again; a resumed run goes on with what is there.
    """
    from stormline.cli import topologies
    from stormline.cli.servers import stored
    from stormline.connectors.redis import halted, stored_graph
    from stormline.connectors.redis import resume as clear_halt

    project = config.find_project(start)
    env = project.environment(env_name)
    with stored(project, env, lambda line: click.echo(line, err=True)) as client:
        app = (
            name if name is not None and stored_graph(client, name) is not None else topologies.choose(project, name)[1]
        )
        why = halted(client, app)
        if clear_halt(client, app):
            click.echo(f"{app} may go on. It had halted: {why}")
        else:
            click.echo(f"{app} is not halted")
