"""From settings to a run under way: workers forked, the app entered in Redis, topics made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from stormline.cli import config
from stormline.cli.hosting import Forked, Hosting, InThisProcess, edges
from stormline.cli.logs import log_to
from stormline.cli.run import Options, create_topics, topics
from stormline.cli.running import Running
from stormline.cli.screen import open_screen
from stormline.cli.servers import require_both
from stormline.cli.settings import of_a_run, with_environment
from stormline.components.graph import migrations, reads_results, slots, version
from stormline.components.keys import SLOTS_KEY
from stormline.connectors.kafka import FED, delete_topic, ensure_topic, reset_group
from stormline.connectors.redis import begin_run, clear, connect, require_durable
from stormline.engine.clock import WallClock
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology

if TYPE_CHECKING:
    from redis import Redis

    from stormline.cli.servers import Servers
    from stormline.cli.stop import StopSignals
    from stormline.cli.topologies import Loaded
    from stormline.connectors.feed_settings import FeedSettings


def start_up(
    project: config.Project,
    env: config.Environment,
    loaded: Loaded,
    servers: Servers,
    feeds: Sequence[FeedSettings],
    given: Mapping[str, Any],
    said: Options,
    stop: StopSignals,
    stack: ExitStack,
) -> Running:
    """Called while this process has one thread: workers are forked before anything else. `given`: settings of the
    command line. What is opened is closed by `stack`."""
    stateful = keeps_state(loaded.topology)
    if stateful:
        require_both(env)
    topology = with_environment(
        read_topology(loaded.topology, environment=env.name, multilang=said.multilang, sources=project.root / "src"),
        env.options,
    )
    logs = project.logs / loaded.app
    logs.mkdir(parents=True, exist_ok=True)
    planned = Deployment(topology, name=loaded.app, conf=given)
    forked = None
    if planned.workers > 1:
        forked = Forked(topology, name=loaded.app, logs=logs, debug=said.debug)
        stack.callback(forked.end)
    screen = open_screen()
    log_to(
        logs,
        "worker-0" if forked is None else "run",
        lambda level, text: screen.say(_told(level, text)),
        debug=said.debug,
    )
    conf = {
        **of_a_run(loaded.app, logs),
        **given,
        "stormline.app": loaded.app,
        "stormline.bounded": bool(feeds) and not said.follow,
        "stormline.tracked": reads_results(loaded.topology),
        SLOTS_KEY: slots(loaded.topology),
    }
    client = None
    if stateful:
        client = stack.enter_context(connect(servers.redis_url))
        _enter(client, env, loaded, servers, feeds, fresh=said.fresh)
        conf["stormline.run"] = begin_run(
            client, loaded.app, version(loaded.topology), said.state, migrations(loaded.topology)
        )
        conf |= {"stormline.kafka": servers.kafka.conf(), "stormline.redis": servers.redis_url}
    clock = WallClock()
    deployment = Deployment(topology, name=loaded.app, conf=conf)
    hosting: Hosting
    if forked is None:
        hosting = InThisProcess(deployment, edges(deployment.conf), clock, said.seed)
    else:
        hosting = forked.workers(
            deployment, clock, lambda level, text: screen.say(_told(level, text)), strict=said.strict
        )
    return Running(
        loaded,
        hosting,
        clock,
        screen,
        servers,
        client,
        feeds,
        bounded=conf["stormline.bounded"],
        stop=stop,
        rate=said.rate,
    )


def keeps_state(topology: Any) -> bool:
    """Whether any component is ours, and needs Kafka or Redis."""
    return any("stormline.schema" in (spec.common.json_conf or "") for spec in topology.specs)


def _enter(
    client: Redis,
    env: config.Environment,
    loaded: Loaded,
    servers: Servers,
    feeds: Sequence[FeedSettings],
    *,
    fresh: bool,
) -> None:
    """The app's place in Redis and Kafka. With `fresh`: offsets go first, then Redis, then the fed topics, so that a
    kill in between leaves nothing to count twice."""
    if env.redis != config.EMBEDDED and env.durability != "memory":
        require_durable(client, servers.redis_url)
    if fresh:
        reset_group(servers.kafka, loaded.app, topics(loaded))
        clear(client, loaded.app)
        if env.has_embedded_kafka:
            for feed in feeds:
                delete_topic(servers.kafka, feed.topic)
    for feed in feeds:
        ensure_topic(servers.kafka, feed.topic, feed.partitions, configs=FED)
    create_topics(env, loaded, servers.kafka)


def _told(level: int, text: str) -> str:
    return text if level == logging.INFO else f"{logging.getLevelName(level).lower()}: {text}"
