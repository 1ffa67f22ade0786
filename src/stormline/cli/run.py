"""`sparse run`: a topology on this machine, from Kafka into Redis, with what one sees of it.

In order: servers, what is stored (or `--fresh`), then `running`; at the end the other way round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormline.cli import config
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from redis import Redis

    from stormline.cli.topologies import Loaded
    from stormline.connectors.feed_settings import FeedSettings


@click.command(short_help="Run a topology here: the embedded servers, the feed, a live view, a summary.")
@click.option("-n", "--name", help="The topology; else a name of its own, for another app of the main one.")
@click.option(
    "-e", "--environment", "env_name", default=config.DEFAULT_ENVIRONMENT, show_default=True, help="From config.json."
)
@click.option("-t", "--time", "seconds", type=click.FloatRange(0, min_open=True), help="Stop after so many seconds.")
@click.option("--follow", is_flag=True, help="Go on when the feed is processed, until Ctrl-C or -t.")
@click.option("--fresh", is_flag=True, help="Begin anew: forget the results, state and offsets of this app.")
@click.option("--yes", is_flag=True, help="Do not ask before --fresh outside the embedded servers.")
@click.pass_obj
def run(
    start: Path, name: str | None, env_name: str, seconds: float | None, follow: bool, fresh: bool, yes: bool
) -> None:
    """Run a topology on this machine.

    With a feed in the environment the run ends when all of it is processed and every window is closed; else it goes on
    until Ctrl-C or -t. Ctrl-C is orderly: what is on its way is counted first. A second Ctrl-C stops at once, and loses
    nothing either.
    """
    from stormline.cli import topologies
    from stormline.cli.servers import both
    from stormline.cli.stop import StopSignals

    project = config.find_project(start)
    env = project.environment(env_name)
    app = topologies.choose(project, name)[1]
    if fresh and not yes and (env.kafka, env.redis) != (config.EMBEDDED, config.EMBEDDED):
        places = f"Redis ({env.redis}) and its offsets in Kafka ({env.kafka})"
        click.confirm(f"Delete all results and state of {app} in {places}?", abort=True)
    with StopSignals() as stop, ExitStack() as stack:
        with ThreadPoolExecutor(1) as pool:
            # The servers need a second or two to start; meanwhile the topology and the clients are imported here.
            starting = pool.submit(stack.enter_context, both(project, env, lambda line: click.echo(line, err=True)))
            loaded = topologies.load(project, name)
            feeds = _feeds(project, env, loaded)
            from stormline.cli.running import Running
            from stormline.connectors.kafka import ensure_topic
            from stormline.connectors.redis import connect, require_durable

            servers = starting.result()
        client = stack.enter_context(connect(servers.redis_url))
        if env.redis != config.EMBEDDED and env.durability != "memory":
            require_durable(client, servers.redis_url)
        if fresh:
            _forget(client, servers.kafka, loaded, feeds if env.kafka == config.EMBEDDED else ())
        for feed in feeds:
            ensure_topic(servers.kafka, feed.topic, feed.partitions)
        running = Running(loaded, servers, client, feeds, bounded=bool(feeds) and not follow, stop=stop)
        running.run(None if seconds is None else time.monotonic() + seconds)
        click.echo("\n".join(running.summary(_command(project))))
        if env.durability == "memory":
            click.echo("\nThis Redis may lose results that it has confirmed (durability: memory).")
    if running.cut_short:
        sys.exit(stop.exit_code)


def _feeds(project: config.Project, env: config.Environment, loaded: Loaded) -> list[FeedSettings]:
    """The feeds of the topics that this topology reads. Raises SettingsError if no topology could read one."""
    read = topics(loaded)
    if not env.feed:
        return []
    from stormline.connectors.feed_settings import feed_settings

    where = f"{project.root / config.FILE}: envs.{env.name}.feed"
    feeds = feed_settings(env.feed, root=project.root, where=where)
    faults = [
        f"{where}.{topic}: no spout of {loaded.path.name} reads this topic; it reads {', '.join(read) or 'none'}"
        + config.did_you_mean(topic, dict.fromkeys(read))
        for topic in env.feed
        if topic not in read and config.did_you_mean(topic, dict.fromkeys(read))
    ]
    if faults:
        raise SettingsError(*faults)
    return [feed for feed in feeds if feed.topic in read]


def topics(loaded: Loaded) -> list[str]:
    """The topics that the spouts of a topology read."""
    found = (getattr(spec.component_cls, "topic", None) for spec in loaded.topology.specs)
    return sorted({topic for topic in found if isinstance(topic, str)})


def _forget(client: Redis, brokers: str, loaded: Loaded, fed: Sequence[FeedSettings]) -> None:
    """Offsets, then Redis, then the fed topics: in this order a kill in between leaves nothing to count twice."""
    from stormline.connectors.kafka import delete_topic, reset_group
    from stormline.connectors.redis import clear

    reset_group(brokers, loaded.app, topics(loaded))
    clear(client, loaded.app)
    for feed in fed:
        delete_topic(brokers, feed.topic)


def _command(project: config.Project) -> str:
    """How to call this program from the project's directory."""
    return "./sparse" if (project.root / "sparse").is_file() else "sparse"
