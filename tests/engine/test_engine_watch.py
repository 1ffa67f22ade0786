"""How the process that runs a topology watches its workers; here the test is the only worker, and its supervisor."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_parts import Bench

from stormline.engine import control
from stormline.engine.control import Channel
from stormline.engine.deployment import Deployment
from stormline.engine.process import CONTROL
from stormline.engine.topology import TopologySpec
from stormline.engine.workers import Workers

LIMIT_MS = 60_000
SILENCE_S = 4


class Watched:
    """The workers, and the other ends of their channels."""

    def __init__(self, folder: Path) -> None:
        bench = Bench()
        conf = {"topology.workers": 1, "topology.subprocess.timeout.secs": SILENCE_S}
        deployment = Deployment(TopologySpec(tuple(bench.components)), name="bench", conf=conf)
        here, there = socket.socketpair()
        self.supervisor = Channel(there)
        self.clock = bench.clock
        self.workers = Workers(deployment, Channel(here), folder, folder, clock=bench.clock, say=lambda *line: None)
        self.workers.start()
        self.until_told(self.supervisor, control.Start)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(folder / CONTROL))
        self.worker = Channel(connection)

    def until_told(self, channel: Channel, what: type[control.Said]) -> None:
        """Serve the workers until the other end of `channel` has said this."""

        def is_told() -> bool:
            readable, _, _ = select.select([channel], [], [], 0)
            return bool(readable) and any(isinstance(each, what) for each in channel.hear() or ())

        assert self.workers.run(is_told, deadline_ms=self.clock.now_ms() + LIMIT_MS), what


@pytest.fixture
def watched() -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        watched = Watched(Path(folder))
        yield watched
        watched.workers.kill()
        watched.worker.close()
        watched.supervisor.close()


def test_a_silent_worker_that_has_just_died_is_started_again(watched: Watched) -> None:
    """
    Its process is gone before it is asked where it is, and before it is killed; the supervisor says so afterwards.
    """
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    watched.worker.say(control.Hello(0, gone.pid))
    watched.until_told(watched.worker, control.Begin)
    watched.worker.say(control.Started())
    watched.until_told(watched.worker, control.Activate)
    for _ in range(SILENCE_S + 1):
        watched.clock.advance(1_000)
        watched.workers.ask()
    watched.supervisor.say(control.Exited(0, 1))
    watched.until_told(watched.supervisor, control.Start)
