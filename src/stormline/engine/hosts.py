"""One task at work: the `Host` of a component object, from its making to its death.

A host is one incarnation of a task. When the task dies the host is marked dead: what its component still emits, acks or
posts has no effect, as nothing leaves a process that is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from random import Random
from typing import Any, NamedTuple

from stormline.components.edges import Edges
from stormline.components.host import BoltComponent, Component, Context, SpoutComponent, Tuple
from stormline.core.errors import UserCodeError
from stormline.engine.acker import Acker, RotatingMap, Verdict
from stormline.engine.clock import Clock
from stormline.engine.mail import Mail
from stormline.engine.routes import Route

log = logging.getLogger("stormline.engine")


class Completion(NamedTuple):
    """On its way to a spout: its tuple is acked, or failed."""

    message_id: str
    acked: bool


class Received:
    """A tuple on its way to a bolt, then in the bolt's hands."""

    __slots__ = ("made", "roots", "tuple")

    def __init__(self, tup: Tuple, roots: dict[int, int]) -> None:
        self.tuple = tup
        self.roots = roots
        """Root id -> edge id of this tuple; empty if nobody tracks it."""
        self.made = 0
        """XOR of the edge ids of the tuples anchored to it."""


class Bus:
    """What all tasks of one engine share."""

    def __init__(self, clock: Clock, mail: Mail[Received | Completion], ids: Random, acker_task: int) -> None:
        self.clock = clock
        self.mail = mail
        self.inbox: SimpleQueue[tuple[TaskHost | None, Callable[[], None]]] = SimpleQueue()
        """Posted calls, each with the incarnation that posted it; None: the engine's own."""
        self.acker = Acker()
        self.pending: dict[int, RotatingMap[int, str]] = {}
        """Spout task -> root -> message id of each tuple it waits for."""
        self.random_64 = ids.getrandbits
        self._acker_task = acker_task
        self._sent = 0

    def send(self, source: Context, stream: str, target: int, values: Any, roots: dict[int, int]) -> None:
        self._sent += 1
        tup = Tuple._make((self._sent, source.component, stream, source.task, values))
        self.mail.put(source.task, target, Received(tup, roots))

    def conclude(self, verdict: Verdict | None) -> None:
        """Tell the spout, unless it no longer waits: its tuple timed out before, or it died."""
        if verdict is None:
            return
        message_id = self.pending[verdict.spout_task].pop(verdict.root)
        if message_id is not None:
            self.complete(verdict.spout_task, message_id, acked=verdict.acked)

    def complete(self, spout_task: int, message_id: str, *, acked: bool) -> None:
        self.mail.put(self._acker_task, spout_task, Completion(message_id, acked))

    def time_out(self) -> None:
        """A message timeout has passed: what spouts emitted one to two of them ago has failed."""
        for task, pending in self.pending.items():
            for message_id in pending.rotate().values():
                self.complete(task, message_id, acked=False)
        self.acker.rotate()

    def bury(self, host: TaskHost) -> None:
        """A task died: nobody waits for its tuples any more, and those on their way to it or in its hands fail."""
        task = host.context.task
        held = [parcel for parcel in self.mail.drop(task) if isinstance(parcel, Received)]
        if isinstance(host, SpoutHost):
            self.pending[task] = RotatingMap(2)
        if isinstance(host, BoltHost):
            held += host.received.values()
        for received in held:
            self.fail_trees(received)

    def fail_trees(self, received: Received) -> None:
        for root in received.roots:
            self.conclude(self.acker.fail(root))


class TaskHost:
    """What a spout's and a bolt's host have in common."""

    component: Component

    def __init__(self, context: Context, edges: Edges, bus: Bus, routes: Mapping[str, Route]) -> None:
        self.context = context
        self.edges = edges
        self.dead = False
        self._bus = bus
        self._routes = routes

    def report_error(self, message: str) -> None:
        log.error("%s: %s", self, message)

    def now_ms(self) -> int:
        return self._bus.clock.now_ms()

    def post(self, call: Callable[[], None]) -> None:
        self._bus.inbox.put((self, call))

    def __str__(self) -> str:
        return f"{self.context.component} (task {self.context.task})"

    def _route(self, stream: str) -> Route:
        route = self._routes.get(stream)
        if route is None:
            declared = ", ".join(map(repr, self._routes)) or "none"
            raise UserCodeError(f"{self}: emits on the undeclared stream {stream!r}; it declares {declared}")
        return route


class SpoutHost(TaskHost):
    """Host of a spout task."""

    component: SpoutComponent

    def __init__(self, context: Context, edges: Edges, bus: Bus, routes: Mapping[str, Route]) -> None:
        super().__init__(context, edges, bus, routes)
        self._pending: RotatingMap[int, str] = RotatingMap(2)
        bus.pending[context.task] = self._pending

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: str | None = None,
        task: int | None = None,
    ) -> None:
        if self.dead:
            return
        if anchors:
            raise UserCodeError(f"{self}: a spout has no tuples to anchor to; give a message_id")
        bus = self._bus
        targets = self._route(stream).targets(values, task)
        if message_id is None:
            for target in targets:
                bus.send(self.context, stream, target, values, {})
            return
        root = bus.random_64(64)
        edges = 0
        for target in targets:
            edge = bus.random_64(64)
            edges ^= edge
            bus.send(self.context, stream, target, values, {root: edge})
        self._pending.add(root, message_id)
        bus.conclude(bus.acker.init(root, edges, self.context.task))

    def ack(self, tup: Tuple) -> None:
        raise UserCodeError(f"{self}: a spout receives no tuples and acks none")

    fail = ack


class BoltHost(TaskHost):
    """Host of a bolt task."""

    component: BoltComponent

    def __init__(self, context: Context, edges: Edges, bus: Bus, routes: Mapping[str, Route]) -> None:
        super().__init__(context, edges, bus, routes)
        self.received: dict[str | int, Received] = {}
        """Tuples neither acked nor failed yet."""

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: str | None = None,
        task: int | None = None,
    ) -> None:
        if self.dead:
            return
        if message_id is not None:
            raise UserCodeError(f"{self}: only spouts give a message_id; a bolt anchors to its input")
        causes = [self._held(anchor, "anchors to") for anchor in anchors]
        bus = self._bus
        for target in self._route(stream).targets(values, task):
            roots: dict[int, int] = {}
            for cause in causes:
                edge = bus.random_64(64)
                cause.made ^= edge
                for root in cause.roots:
                    roots[root] = roots.get(root, 0) ^ edge
            bus.send(self.context, stream, target, values, roots)

    def ack(self, tup: Tuple) -> None:
        if self.dead:
            return
        received = self._held(tup, "acks")
        del self.received[tup.id]
        for root, edge in received.roots.items():
            self._bus.conclude(self._bus.acker.ack(root, edge ^ received.made))

    def fail(self, tup: Tuple) -> None:
        if self.dead:
            return
        received = self._held(tup, "fails")
        del self.received[tup.id]
        self._bus.fail_trees(received)

    def _held(self, tup: Tuple, does: str) -> Received:
        received = self.received.get(tup.id)
        if received is None:
            raise UserCodeError(
                f"{self}: {does} tuple {tup.id} from {tup.component}/{tup.stream}, which it does not hold; "
                "each tuple is acked or failed once, after its last emit"
            )
        return received
