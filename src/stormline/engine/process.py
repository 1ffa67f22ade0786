"""The life of one worker process, from its first word to the process that runs the topology to its last."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stormline.components.edges import Edges
from stormline.core.errors import StormlineError
from stormline.engine import control
from stormline.engine.clock import WallClock
from stormline.engine.control import Channel
from stormline.engine.deployment import Deployment
from stormline.engine.links import Links
from stormline.engine.messages import Message
from stormline.engine.topology import TopologySpec
from stormline.engine.wire import Wire
from stormline.engine.worker import Worker
from stormline.multilang.interpreter import tune

TELL_STACK = signal.SIGUSR2
"""Writes where a worker is to its stderr, whatever its Python code is doing."""
CONTROL = "control"
"""Name of the socket, in the folder of a run, on which the process that runs the topology listens."""


def work(
    number: int,
    folder: Path,
    *,
    topology: TopologySpec,
    name: str,
    edges: Callable[[Mapping[str, Any]], Edges],
    log_to: Callable[[int, Callable[[int, str], None]], None],
) -> None:
    """Be worker `number` of a topology until told to close.

    `folder` holds the sockets of the run; `edges` makes the edges from the topology's configuration; `log_to` is told
    the number of the worker and where lines go that the user is to see. Ends at once, without closing anything, when
    the process that runs the topology is gone.
    """
    tune()
    faulthandler.register(TELL_STACK, all_threads=False)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(folder / CONTROL))
    channel = Channel(connection)
    channel.say(control.Hello(number, os.getpid()))
    log_to(number, lambda level, text: channel.say(control.Line(level, text)))
    try:
        begin = _begin(channel)
        deployment = Deployment(topology, name=name, conf=begin.conf)
        links = Links(number, deployment.workers, Wire(deployment), folder)
        _Process(number, channel, deployment, links, edges(deployment.conf)).run()
    except StormlineError as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        channel.say(control.Raised(type(error).__name__, f"{error}{notes}"))


def _begin(channel: Channel) -> control.Begin:
    while True:
        said = channel.hear()
        if said is None:
            os._exit(1)
        for message in said:
            if isinstance(message, control.Begin):
                return message


class _Process:
    def __init__(self, number: int, channel: Channel, deployment: Deployment, links: Links, edges: Edges) -> None:
        self._channel = channel
        self._links = links
        self._edges = edges
        self._worker = Worker(deployment, edges=edges, clock=WallClock(), number=number, transport=links)
        self._closing = False

    def run(self) -> None:
        worker, channel = self._worker, self._channel
        worker.watch(channel.fileno(), self._hear)
        self._links.serve(worker, self._take_in)
        worker.start(active=False)
        channel.say(control.Started())
        worker.run(lambda: self._closing)
        worker.close()
        self._edges.close()
        channel.say(control.Ended())

    def _take_in(self, message: Message) -> None:
        self._worker.take_in(message)

    def _hear(self) -> None:
        said = self._channel.hear()
        if said is None:
            logging.getLogger("stormline.engine").error("the process that ran the topology is gone; so this one ends")
            os._exit(1)
        for message in said:
            self._obey(message)

    def _obey(self, message: control.Said) -> None:
        worker = self._worker
        match message:
            case control.Connect(workers):
                for other in workers:
                    self._links.connect(other)
            case control.Activate():
                worker.activate()
            case control.Deactivate():
                worker.deactivate()
            case control.Ask(number):
                self._report(number)
            case control.Lost(other):
                self._links.disconnect(other)
                self._channel.say(control.Heard(other))
            case control.FailPending():
                worker.fail_pending()
            case control.Close():
                self._closing = True
            case _:
                raise AssertionError(f"a worker is not told {message}")

    def _report(self, number: int) -> None:
        worker = self._worker
        tasks = worker.deployment.tasks
        statuses = {
            component: list(zip((task for task in tasks[component] if task in worker.tasks), found, strict=True))
            for component, found in worker.status().items()
        }
        settled = worker.settled() and self._links.idle
        self._channel.say(control.Report(number, statuses, settled, worker.waited_for))
