"""The part of a submit that touches the world: look at the servers, send the JAR, replace the old, start the new."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stormline.cli.stop import StopSignals
from stormline.cluster import deploy, nimbus, requirements, virtualenvs
from stormline.cluster.ssh import Ssh
from stormline.core.errors import ServerError, StateError

if TYPE_CHECKING:
    from redis import Redis

    from stormline.cli.planning import Plan
    from stormline.cli.submit import Options
    from stormline.cluster.virtualenvs import Virtualenv

DRAIN_S = 60
QUIET_S = 2.0
"""Spouts commit once a second: when no commit has moved for longer than that, nothing more is being acked."""
STOCK_KILL_WAIT_S = 5
"""How long a topology that keeps nothing in Redis may go on with what is on its way; streamparse's default."""
Tell = Callable[[str], None]


class Submission:
    """One submit; `run` once."""

    def __init__(self, plan: Plan, said: Options, tell: Tell, told_bytes: Callable[[int, int], None]) -> None:
        self._plan = plan
        self._said = said
        self._tell = tell
        self._told_bytes = told_bytes

    def run(self, jar: Path | None) -> None:
        """Raises ServerError, StateError, SettingsError; until the old one is killed the cluster is as it was."""
        plan, said = self._plan, self._said
        with ExitStack() as stack:
            store = self._ready_store(stack) if plan.stateful else None
            client = stack.enter_context(nimbus.connect_leader(plan.nimbus, said.timeout_ms))
            old = deploy.running(client, plan.app)
            if old is not None and not said.force:
                raise StateError(_taken(plan.app, old))
            plan.conf.setdefault("topology.workers", len(plan.env.stock.get("workers") or deploy.hosts(client)) or 1)
            if plan.python.virtualenv is not None:
                self._bring_up(plan.python.virtualenv, client)
            place = said.remote_jar if jar is None else self._upload(client, jar)
            assert place is not None
            if old is None:
                self._start(client, store, place)
            else:
                self._replace(client, store, old)
                try:
                    self._start(client, store, place)
                except ServerError as error:
                    error.add_note(f"The old {plan.app} is stopped. Nothing is lost: submit again, and it goes on")
                    raise
            self._tell(f"{plan.app} is submitted to {plan.env.name}")
            if said.wait_s is not None:
                acked = deploy.wait_until_runs(
                    client, plan.app, within_s=said.wait_s, enough=self._nothing_to_ack, tell=self._tell
                )
                if not acked:
                    self._tell(f"{plan.app}: every executor runs, but no tuple was acked yet; is there input?")

    def _nothing_to_ack(self) -> bool:
        """Whether no first ack is to be waited for: it is inactive, or all records in Kafka are counted."""
        from stormline.cli.run import topics
        from stormline.cli.servers import found_here
        from stormline.connectors.kafka import places

        if not self._said.active:
            return True
        read = topics(self._plan.loaded)
        brokers = found_here(self._plan.env).kafka
        try:
            return (
                bool(read)
                and brokers is not None
                and not any(each.behind for each in places(brokers, self._plan.app, read))
            )
        except ServerError as error:  # a young cluster has no coordinator of the group yet
            if not error.retriable:
                raise
            return False

    def _ready_store(self, stack: ExitStack) -> Redis:
        """The app's Redis, durable and ready for this topology; Kafka has been asked, too."""
        from stormline.cli.run import create_topics, missing_sinks
        from stormline.cli.servers import found_here, probe_kafka, probe_redis
        from stormline.components.graph import version
        from stormline.connectors.kafka import absent
        from stormline.connectors.redis import connect, require_durable, require_ready

        plan = self._plan
        env = found_here(plan.env)
        assert env.kafka is not None
        assert env.redis is not None
        probe_kafka(env.kafka, env)
        probe_redis(env.redis, env)
        store: Redis = stack.enter_context(connect(env.redis))
        if env.durability != "memory":
            require_durable(store, plan.env.redis or "")
        create_topics(env, plan.loaded, env.kafka)
        for sink, topic in missing_sinks(plan.loaded, env.kafka).items():
            self._tell(f"warning: {sink} cannot write to the topic {topic}: it {absent(env.kafka, topic)}")
        require_ready(store, plan.app, version(plan.loaded.topology), self._said.state)
        return store

    def _bring_up(self, virtualenv: Virtualenv, client: Any) -> None:
        stock = self._plan.env.stock
        virtualenvs.update(
            stock.get("workers") or sorted(deploy.hosts(client)),
            Ssh(stock.get("user") or None, stock.get("ssh_port") or None),
            virtualenv,
            "".join(f"{line}\n" for path in self._plan.requirements for line in requirements.read(path)),
            overwrite=self._said.overwrite_virtualenv,
            user=stock.get("sudo_user") or None,
            tell=self._tell,
        )

    def _upload(self, client: Any, jar: Path) -> str:
        total = jar.stat().st_size
        self._tell(f"uploading {total:,} bytes to Nimbus")
        return nimbus.upload(client, jar, lambda sent: self._told_bytes(sent, total))

    def _replace(self, client: Any, store: Redis | None, old: Any) -> None:
        """Nothing is lost however this ends: what was not acked comes again. If it does not come to the kill, the old
        one goes on."""
        plan, said = self._plan, self._said
        if store is not None and old.status == "ACTIVE":
            self._tell(f"{plan.app}: the old one is deactivated, and counts what is on its way")
            try:
                client.deactivate(plan.app)
                drained = _drain(store, plan.app, said.wait_s or DRAIN_S)
            except BaseException:
                client.activate(plan.app)
                raise
            if not drained:
                self._tell(
                    f"{plan.app}: still counting after {said.wait_s or DRAIN_S} s; what is left is counted again"
                )
        wait_s = 0 if store is not None else STOCK_KILL_WAIT_S if said.wait_s is None else said.wait_s
        deploy.end(client, plan.app, wait_s)
        self._tell(f"{plan.app}: the old one is killed")

    def _start(self, client: Any, store: Redis | None, place: str) -> None:
        """A number for the run is taken only if it will be used: an older run can load nothing any more."""
        from stormline.components.graph import migrations, version
        from stormline.connectors.redis import begin_run
        from stormline.connectors.submissions import alone

        plan = self._plan
        with StopSignals() as stop, ExitStack() as stack:
            if store is not None:
                stack.enter_context(alone(store, plan.app))
            old = deploy.running(client, plan.app)
            if old is not None:
                raise StateError(f"another submit was faster: {_taken(plan.app, old)}")
            stop.orderly = True  # from the number on until Nimbus has answered: a second Ctrl-C still ends it
            if store is not None:
                topology = plan.loaded.topology
                number = begin_run(store, plan.app, version(topology), self._said.state, migrations(topology))
                plan.conf["stormline.run"] = number
            nimbus.submit(client, plan.app, place, plan.structure, plan.conf, active=self._said.active)
            if stop.asked:
                self._tell(f"Ctrl-C came too late: {plan.app} is submitted; `sparse kill -n {plan.app}` ends it")
                raise KeyboardInterrupt


def _taken(name: str, old: Any) -> str:
    if old.status == "KILLED":
        return f"{name} is being killed on the cluster; wait until `sparse list` does not show it"
    return (
        f"{name} runs on the cluster already ({old.id}, {old.status.lower()}); replace it with --force, or submit this "
        "one under another name with -N"
    )


def _drain(store: Redis, app: str, within_s: float) -> bool:
    """Until no commit has moved for a while; False if they still do when the time is over."""
    from redis import RedisError

    from stormline.connectors.redis_commands import app_key

    until = time.monotonic() + within_s
    commits: Any = None
    quiet_since = time.monotonic()
    while (now := time.monotonic()) < until:
        try:
            found = store.hgetall(app_key(app, "commits"))
        except RedisError as error:
            raise ServerError(f"Redis has gone while the old {app} was draining: {error}", retriable=True) from error
        if found != commits:
            commits, quiet_since = found, now
        elif now - quiet_since > QUIET_S:
            return True
        time.sleep(deploy.PAUSE_S)
    return False
