"""One task at work: the `Host` of a component object, from its making to its death.

A host is one incarnation of a task. When the task dies the host is marked dead: what its component still emits, acks or
posts has no effect, as nothing leaves a process that is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stormline.components.edges import Edges
from stormline.components.host import BoltComponent, Component, Context, SpoutComponent, Tuple
from stormline.core.errors import UserCodeError
from stormline.engine.acker import RotatingMap
from stormline.engine.bus import Bus, Received
from stormline.engine.reactor import Reactor
from stormline.engine.routes import Route
from stormline.multilang.traces import shortened

log = logging.getLogger("stormline.task")
NO_ROOTS: Mapping[int, int] = {}


class TaskHost:
    """What a spout's and a bolt's host have in common."""

    component: Component
    emit: Callable[..., Sequence[int]]

    def __init__(
        self,
        context: Context,
        edges: Edges,
        bus: Bus,
        reactor: Reactor,
        routes: Mapping[str, Route],
        handshake: Callable[[], dict[str, Any]],
    ) -> None:
        self.context = context
        self.edges = edges
        self.handshake = handshake
        self.dead = False
        self.worked = False
        """It has emitted, acked or failed something."""
        self._bus = bus
        self._reactor = reactor
        self._routes = routes
        self._watched: set[tuple[int, bool]] = set()
        if context.conf.get("topology.debug"):
            self.emit = self._telling(self.emit)

    def log(self, level: int, message: str) -> None:
        log.log(level, "%s: %s", self, message)

    def report_error(self, message: str) -> None:
        self.log(logging.ERROR, message)

    def now_ms(self) -> int:
        return self._bus.clock.now_ms()

    def post(self, call: Callable[[], None]) -> None:
        self._reactor.post(self, call)

    def watch(self, fd: int, on_ready: Callable[[], None], *, write: bool = False) -> None:
        self._watched.add((fd, write))
        self._reactor.watch(fd, lambda: self._reactor.call(self, on_ready), write=write)

    def unwatch(self, fd: int, *, write: bool = False) -> None:
        if (fd, write) in self._watched:
            self._watched.discard((fd, write))
            self._reactor.unwatch(fd, write=write)

    def _telling(self, emit: Callable[..., Sequence[int]]) -> Callable[..., Sequence[int]]:
        """With `topology.debug`: every emitted tuple in the log."""

        def tell(values: Any, **how: Any) -> Sequence[int]:
            tasks = emit(values, **how)
            stream = how.get("stream", "default")
            self.log(logging.DEBUG, f"emits {shortened(repr(values))} on stream {stream!r} to tasks {list(tasks)}")
            return tasks

        return tell

    def die(self) -> None:
        """Nothing comes from or to this incarnation any more."""
        self.dead = True
        for fd, write in tuple(self._watched):
            self.unwatch(fd, write=write)

    def __str__(self) -> str:
        return f"{self.context.component} (task {self.context.task})"

    def _targets(self, stream: str, values: Any, task: int | None) -> Sequence[int]:
        route = self._routes.get(stream)
        if route is None:
            declared = ", ".join(map(repr, self._routes)) or "none"
            raise UserCodeError(f"{self}: emits on the undeclared stream {stream!r}; it declares {declared}")
        return route.targets(values, task)


class SpoutHost(TaskHost):
    """Host of a spout task."""

    component: SpoutComponent

    def __init__(self, context: Context, *others: Any) -> None:
        super().__init__(context, *others)
        self.pending: RotatingMap[int, Any] = RotatingMap(2)
        self._bus.pending[context.task] = self.pending
        self.room: Callable[[], int | None] = lambda: None
        """How many tuples may still be pending (`topology.max.spout.pending`); None: any number."""

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: Any = None,
        task: int | None = None,
    ) -> Sequence[int]:
        if self.dead:
            return ()
        if anchors:
            raise UserCodeError(f"{self}: a spout has no tuples to anchor to; give a message_id")
        self.worked = True
        targets = self._targets(stream, values, task)
        bus, context = self._bus, self.context
        if message_id is None or not bus.ackers:
            for target in targets:
                bus.send(context, stream, target, values, NO_ROOTS)
            if message_id is not None:
                self.component.ack(message_id)
            return targets
        root = bus.new_root()
        edges = 0
        for target in targets:
            edge = bus.random_64(64)
            edges ^= edge
            bus.send(context, stream, target, values, {root: edge})
        self.pending.add(root, message_id)
        bus.begin(root, edges, context.task)
        return targets

    def ack(self, tup: Tuple) -> None:
        raise UserCodeError(f"{self}: a spout receives no tuples and acks none")

    fail = ack


class BoltHost(TaskHost):
    """Host of a bolt task."""

    component: BoltComponent

    def __init__(self, context: Context, *others: Any) -> None:
        super().__init__(context, *others)
        self.received: dict[str | int, Received] = {}
        """Tuples neither acked nor failed yet."""

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: Any = None,
        task: int | None = None,
    ) -> Sequence[int]:
        if self.dead:
            return ()
        if message_id is not None:
            raise UserCodeError(f"{self}: only spouts give a message_id; a bolt anchors to its input")
        self.worked = True
        causes = [self._held(anchor, "anchors to") for anchor in anchors]
        targets = self._targets(stream, values, task)
        bus, context = self._bus, self.context
        for target in targets:
            roots: dict[int, int] = {}
            for cause in causes:
                edge = bus.random_64(64)
                cause.made ^= edge
                for root in cause.roots:
                    roots[root] = roots.get(root, 0) ^ edge
            bus.send(context, stream, target, values, roots)
        return targets

    def ack(self, tup: Tuple) -> None:
        if self.dead:
            return
        received = self.received.pop(tup.id, None) or self._held(tup, "acks")
        self.worked = True
        for root, edge in received.roots.items():
            self._bus.ack(root, edge ^ received.made)

    def fail(self, tup: Tuple) -> None:
        if self.dead:
            return
        received = self.received.pop(tup.id, None) or self._held(tup, "fails")
        self.worked = True
        self._bus.fail_trees(received)

    def _held(self, tup: Tuple, does: str) -> Received:
        received = self.received.get(tup.id)
        if received is None:
            raise UserCodeError(
                f"{self}: {does} tuple {tup.id} from {tup.component}/{tup.stream}, which it does not hold; "
                "each tuple is acked or failed once, after its last emit"
            )
        return received
