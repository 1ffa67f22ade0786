"""`sparse run`: a topology on this machine, from Kafka into Redis, with what one sees of it.

In order: servers, what is stored (or `--fresh`), then `running`; at the end the other way round.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import config
from stormline.core.errors import SettingsError, StormlineError

if TYPE_CHECKING:
    from stormline.cli.topologies import Loaded
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.feed_settings import FeedSettings
    from stormline.connectors.versions import Choice
    from stormline.core.topics import Topics


@click.command(short_help="Run a topology here: the embedded servers, the feed, a live view, a summary.")
@click.option("-n", "--name", help="The topology; else a name of its own, for another app of the main one.")
@click.option("-e", "--environment", "env_name", help="From config.json.  [default: embedded, or the only one]")
@click.option("-t", "--time", "seconds", type=click.FloatRange(0, min_open=True), help="Stop after so many seconds.")
@click.option("--follow", is_flag=True, help="Go on when the feed is processed, until Ctrl-C or -t.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Feed so many rows a second, at most.")
@click.option("--fresh", is_flag=True, help="Begin anew: forget the results, state and offsets of this app.")
@click.option("--yes", is_flag=True, help="Do not ask before --fresh outside the embedded servers.")
@click.option(
    "--state",
    type=click.Choice(["keep", "migrate", "drop"]),
    help="What becomes of the state of bolts that have changed.",
)
@click.option("--workers", type=click.IntRange(1), help="Worker processes.  [default: topology.workers, or the cores]")
@click.option("--inline", is_flag=True, help="All tasks in one process and thread: for debugging.")
@click.option("--seed", type=int, help="With --inline: draw the order of things by it, the same each time.")
@click.option("--multilang", is_flag=True, help="Each task a process on the multilang pipe, as on a cluster.")
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="A setting of Storm's or your own.")
@click.option("-d", "--debug", is_flag=True, help="topology.debug: each emitted tuple in the logs.")
@click.option("--strict", is_flag=True, help="What a dead worker held times out, as on a cluster, not fails at once.")
@click.pass_obj
def run(start: Path, /, **options: Any) -> None:
    """Run a topology on this machine.

    With a feed in the environment the run ends when all of it is processed and every window is closed; else it goes on
    until Ctrl-C or -t. Ctrl-C is orderly: what is on its way is counted first. A second Ctrl-C stops at once, and loses
    nothing either.
    """
    _run(start, Options(**options))


class Options(NamedTuple):
    """What was said on the command line."""

    name: str | None
    env_name: str | None
    seconds: float | None
    follow: bool
    rate: float | None
    fresh: bool
    yes: bool
    state: Choice | None
    workers: int | None
    inline: bool
    seed: int | None
    multilang: bool
    options: Sequence[str]
    debug: bool
    strict: bool


def _run(start: Path, said: Options) -> None:
    from stormline.cli import topologies
    from stormline.cli.servers import both
    from stormline.cli.settings import from_the_command_line
    from stormline.cli.stop import StopSignals

    project = config.find_project(start)
    env = project.environment(said.env_name)
    app = topologies.choose(project, said.name)[1]
    given = from_the_command_line(
        said.options,
        workers=said.workers,
        inline=said.inline,
        seed=said.seed,
        multilang=said.multilang,
        debug=said.debug,
    )
    if said.fresh and not said.yes and not (env.has_embedded_kafka and env.redis == config.EMBEDDED):
        places = f"Redis ({env.redis}) and its offsets in Kafka ({env.kafka})"
        click.confirm(f"Delete all results and state of {app} in {places}?", abort=True)
    with StopSignals() as stop, ExitStack() as stack:
        with ThreadPoolExecutor(1) as pool:
            # The servers need a second or two to start; meanwhile the topology and the clients are imported here.
            starting = pool.submit(stack.enter_context, both(project, env, lambda line: click.echo(line, err=True)))
            loaded = topologies.load(project, said.name)
            feeds = _feeds(project, env, loaded)
            from stormline.cli.starting import start_up

            servers = starting.result()
        # From here on, until the workers are forked, there is one thread.
        running = start_up(project, env, loaded, servers, feeds, given, said, stop, stack)
        running.run(None if said.seconds is None else time.monotonic() + said.seconds)
        click.echo("\n".join(running.summary(_command(project), _which(said))))
        if env.durability == "memory":
            click.echo("\nThis Redis may lose results that it has confirmed (durability: memory).")


def _feeds(project: config.Project, env: config.Environment, loaded: Loaded) -> list[FeedSettings]:
    """The feeds of the topics that this topology reads. Raises SettingsError for one whose name is nearly that of such
    a topic, unless another topology reads it."""
    read = topics(loaded)
    if not env.feed:
        return []
    from stormline.connectors.feed_settings import feed_settings
    from stormline.core.topics import chosen, named, shown

    where = f"{project.root / config.FILE}: envs.{env.name}.feed"
    feeds = feed_settings(env.feed, root=project.root, where=where)
    names = dict.fromkeys(name for each in read for name in named(each))
    fed = {name for each in read for name in chosen(each, env.feed)}
    near = [topic for topic in env.feed if topic not in fed and config.did_you_mean(topic, names)]
    meant = _read_by_others(project, loaded, near) if near else set()
    faults = [
        f"{where}.{topic}: no spout of {loaded.path.name} reads this topic; it reads "
        f"{', '.join(map(shown, read)) or 'none'}{config.did_you_mean(topic, names)}"
        for topic in near
        if topic not in meant
    ]
    if faults:
        raise SettingsError(*faults)
    return [feed for feed in feeds if feed.topic in fed]


def _read_by_others(project: config.Project, loaded: Loaded, wanted: Sequence[str]) -> set[str]:
    """Those of the topics that another topology of the project reads; one that cannot be loaded reads none."""
    from stormline.cli import topologies
    from stormline.core.topics import chosen

    found: set[str] = set()
    for name in topologies.names(project):
        if name != loaded.path.stem:
            with suppress(StormlineError):
                found.update(*(chosen(each, wanted) for each in topics(topologies.load(project, name))))
    return found


def topics(loaded: Loaded) -> list[Topics]:
    """What the spouts of a topology read."""
    from stormline.components.kafka_spout import KafkaSpout

    classes = [spec.component_cls for spec in loaded.topology.specs]
    return [cls.topic for cls in classes if issubclass(cls, KafkaSpout)]


def create_topics(env: config.Environment, loaded: Loaded, brokers: Brokers) -> None:
    """Those that the environment has, as far as this topology reads or writes them. Raises ServerError."""
    from stormline.connectors.kafka import ensure_topic
    from stormline.core.topics import chosen

    used = [spec.component_cls.topic for spec in loaded.topology.specs if hasattr(spec.component_cls, "topic")]
    for topic in sorted({name for each in used for name in chosen(each, env.topics)}):
        ensure_topic(brokers, topic, env.topics[topic])


def missing_sinks(loaded: Loaded, brokers: Brokers) -> dict[str, str]:
    """The sinks whose topic does not exist, with the topic. Raises ServerError."""
    from stormline.components.kafka_sink import KafkaSink
    from stormline.connectors.kafka import topic_names

    specs = [spec for spec in loaded.topology.specs if issubclass(spec.component_cls, KafkaSink)]
    there = topic_names(brokers) if specs else []
    return {spec.name: spec.component_cls.topic for spec in specs if spec.component_cls.topic not in there}


def _which(said: Options) -> str:
    """The options that mean the same app again, with a space before each."""
    given = (("-n", said.name), ("-e", said.env_name))
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value is not None)


def _command(project: config.Project) -> str:
    """How to call this program from the project's directory."""
    return "./sparse" if (project.root / "sparse").is_file() else "sparse"
