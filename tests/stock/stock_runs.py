"""Runs a topology of the stock project: in one worker, in several that are linked by sockets, or as children."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamparse

from stormline.engine.clock import WallClock
from stormline.engine.deployment import Deployment
from stormline.engine.links import Links
from stormline.engine.topology import TopologySpec, read_topology
from stormline.engine.wire import Wire
from stormline.engine.worker import Worker

PROJECT = Path(__file__).parent
SOURCES = PROJECT / "src"
WITHIN_MS = 60_000


def load(name: str) -> Any:
    """The topology class of `topologies/<name>.py`."""
    if str(SOURCES) not in sys.path:
        sys.path.append(str(SOURCES))
    spec = importlib.util.spec_from_file_location(f"stock_{name}", PROJECT / "topologies" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (topology,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, streamparse.Topology) and each.__module__ == module.__name__
    )
    return topology


class Linked:
    """Several workers on this thread, which look like one."""

    def __init__(self, topology: TopologySpec, conf: dict[str, Any], count: int) -> None:
        self.deployment = Deployment(topology, name="stock", conf={**conf, "topology.workers": count})
        self._folder = tempfile.TemporaryDirectory(prefix="sl-")
        self._links = [Links(n, count, Wire(self.deployment), Path(self._folder.name)) for n in range(count)]
        self._workers = [
            Worker(self.deployment, edges=None, clock=WallClock(), number=number, transport=links)  # type: ignore[arg-type]
            for number, links in enumerate(self._links)
        ]

    def start(self) -> None:
        for worker, links in zip(self._workers, self._links, strict=True):
            links.serve(worker, worker.take_in)
            worker.start(active=False)
        for number, links in enumerate(self._links):
            for other in set(range(len(self._links))) - {number}:
                links.connect(other)
        for worker in self._workers:
            worker.activate()

    def run(self, until: Callable[[], bool], *, deadline_ms: int) -> bool:
        """Each worker in turn, until `until()`; False at `deadline_ms`."""
        turns = itertools.cycle(self._workers)
        while not until():
            if WallClock().now_ms() > deadline_ms:
                return False
            next(turns).run(lambda: False, deadline_ms=WallClock().now_ms() + 5)
        return True

    @property
    def waited_for(self) -> int:
        return sum(worker.waited_for for worker in self._workers)

    def close(self) -> None:
        for worker, links in zip(self._workers, self._links, strict=True):
            links.close()
            worker.close()
        self._folder.cleanup()


class Run:
    """A topology under way; what its components note is in files of `notes`, what they log in `lines`."""

    workers = 1

    def __init__(self, topology: Any, notes: Path, *, multilang: bool, sources: Path = SOURCES, **conf: Any) -> None:
        spec = (
            topology
            if isinstance(topology, TopologySpec)
            else read_topology(load(topology), multilang=multilang, sources=sources)
        )
        self.notes = notes
        conf = {"stock.notes": str(notes), **{key.replace("_", "."): value for key, value in conf.items()}}
        self.worker: Any
        if self.workers > 1:
            self.worker = Linked(spec, conf, self.workers)
        else:
            deployment = Deployment(spec, name="stock", conf=conf)
            self.worker = Worker(deployment, edges=None, clock=WallClock())  # type: ignore[arg-type]
        self.lines: list[tuple[int, str]] = []
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.lines.append((record.levelno, record.getMessage()))  # type: ignore[method-assign]

    def __enter__(self) -> Run:
        logging.getLogger("stormline").addHandler(self._handler)
        logging.getLogger("stormline").setLevel(logging.DEBUG)
        self.worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.worker.close()
        finally:
            logging.getLogger("stormline").removeHandler(self._handler)

    def until(self, done: Callable[[], bool], within_ms: int = WITHIN_MS) -> None:
        """Go on until `done()`; an AssertionError with the log if that does not come about."""
        deadline_ms = WallClock().now_ms() + within_ms
        assert self.worker.run(done, deadline_ms=deadline_ms), "\n".join(line for _, line in self.lines)

    def noted(self, name: str) -> list[str]:
        """The lines of a file of notes."""
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def said(self, text: str) -> list[str]:
        """The log lines with this text in them."""
        return [line for _, line in self.lines if text in line]
