"""Where the tasks of a run live: all in this process and thread, or spread over several workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import stormline.connectors.kafka_reader
import stormline.connectors.redis  # noqa: F401 - both: workers are forked later, and share what is imported by then
from stormline.cli.logs import log_to
from stormline.components.edges import Edges
from stormline.connectors.brokers import Brokers
from stormline.connectors.edges import ServerEdges
from stormline.core.status import Status
from stormline.engine.clock import Clock
from stormline.engine.control import Channel
from stormline.engine.deployment import Deployment
from stormline.engine.process import work
from stormline.engine.supervisor import start_supervisor
from stormline.engine.topology import TopologySpec
from stormline.engine.worker import Worker
from stormline.engine.workers import Workers, make_folder
from stormline.multilang.interpreter import tune


class Hosting(Protocol):
    """A topology under way."""

    deployment: Deployment
    deaths: int
    """Workers that died: what they had told of themselves is gone with them."""

    def start(self) -> None: ...

    def run(self, until: Callable[[], bool], *, deadline_ms: int) -> bool:
        """Go on until `until()`; False if the clock reached `deadline_ms` first. Raises what ends the run."""

    def ask(self) -> None:
        """Let `status`, `settled` and `waited_for` be news soon."""

    def status(self) -> dict[str, list[Status]]: ...

    def settled(self) -> bool: ...

    @property
    def waited_for(self) -> int:
        """Tuples that spouts wait for."""

    def deactivate(self) -> None: ...

    def close(self) -> None:
        """The orderly end."""

    def kill(self) -> None:
        """The end of whatever is left; after `close`, or instead of it."""


class InThisProcess:
    """All tasks in one worker, here: deterministic by `seed` but for the outside world, open to a debugger."""

    def __init__(self, deployment: Deployment, edges: Edges, clock: Clock, seed: int | None) -> None:
        tune()
        self.deployment = deployment
        self.deaths = 0
        self._edges = edges
        self._worker = Worker(deployment, edges=edges, clock=clock, seed=seed)
        self.start, self.run, self.deactivate = self._worker.start, self._worker.run, self._worker.deactivate
        self.status, self.settled, self.close = self._worker.status, self._worker.settled, self._worker.close

    def ask(self) -> None:
        """It is always news."""

    @property
    def waited_for(self) -> int:
        return self._worker.waited_for

    def kill(self) -> None:
        self._edges.close()


class Forked:
    """What can be started later: the supervisor, forked before this process has threads."""

    def __init__(self, topology: TopologySpec, *, name: str, logs: Path, debug: bool) -> None:
        self._folder = make_folder()
        self._logs = logs
        self._supervisor: Channel = start_supervisor(
            partial(
                work,
                folder=self._folder,
                topology=topology,
                name=name,
                edges=edges,
                log_to=lambda number, say: log_to(logs, f"worker-{number}", say, debug=debug),
            ),
            logs=logs,
            folder=self._folder,
        )

    def end(self) -> None:
        """The supervisor ends, with all workers that run; also after `Workers.kill`, or if it never came so far."""
        self._supervisor.close()

    def workers(
        self, deployment: Deployment, clock: Clock, say: Callable[[int, str], None], *, strict: bool
    ) -> Workers:
        """The workers of this deployment; nothing is started yet."""
        return Workers(deployment, self._supervisor, self._folder, self._logs, clock=clock, say=say, strict=strict)


def edges(conf: Mapping[str, Any]) -> Edges:
    """The edges of one process, from a topology's configuration."""
    brokers = Brokers.of_conf(conf.get("stormline.kafka", ""))
    return ServerEdges(brokers=brokers, redis_url=conf.get("stormline.redis", ""))
