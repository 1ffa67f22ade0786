"""Small components, a clock in the test's hand, and topologies of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from stormline.components.host import Tuple
from stormline.core.status import Status
from stormline.engine.deployment import Deployment
from stormline.engine.groupings import Grouping
from stormline.engine.topology import ComponentSpec, StreamSpec, Subscription, TopologySpec
from stormline.engine.worker import Worker

SHUFFLE = Grouping("shuffle")
DEFAULT = {"default": StreamSpec(("number",))}


class HandClock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.time_ms = 1_000_000

    def now_ms(self) -> int:
        return self.time_ms

    def advance(self, ms: int) -> None:
        self.time_ms += ms


class Part:
    """What all components here share. `trace` outlives incarnations: (component, task, what, which)."""

    due_ms: int | None = None

    def __init__(self, trace: list[Any]) -> None:
        self.trace = trace

    def prepare(self, host: Any) -> None:
        self.host = host
        self.note("prepare")

    def note(self, what: str, which: Any = None) -> None:
        self.trace.append((self.host.context.component, self.host.context.task, what, which))

    def on_time(self, now_ms: int) -> None:
        self.due_ms = None
        self.note("on_time", now_ms)

    def status(self) -> Status:
        return Status(settled=True)

    def close(self) -> None:
        self.note("close")


class Numbers(Part):
    """A spout that emits what lies in `waiting`, each under its text as message id; its tasks share the queue."""

    def __init__(self, trace: list[Any], waiting: deque[int]) -> None:
        super().__init__(trace)
        self.waiting = waiting

    def activate(self) -> None:
        self.note("activate")

    def deactivate(self) -> None:
        self.note("deactivate")

    def next_tuple(self) -> bool:
        if not self.waiting:
            return False
        number = self.waiting.popleft()
        self.note("emit", number)
        self.host.emit((number,), message_id=str(number))
        return True

    def ack(self, message_id: str) -> None:
        self.note("ack", message_id)

    def fail(self, message_id: str) -> None:
        self.note("fail", message_id)

    def status(self) -> Status:
        return Status(records_in=len(self.waiting), settled=not self.waiting)


class Acting(Part):
    """A bolt that does what `act(bolt, tuple)` says; noted first."""

    def __init__(self, trace: list[Any], act: Callable[[Any, Tuple], None]) -> None:
        super().__init__(trace)
        self.act = act

    def execute(self, tup: Tuple) -> None:
        self.note("execute", tup.values[0])
        self.act(self, tup)


def acks(bolt: Any, tup: Tuple) -> None:
    bolt.host.ack(tup)


def relays(bolt: Any, tup: Tuple) -> None:
    bolt.host.emit(tup.values, anchors=[tup])
    bolt.host.ack(tup)


def holds(bolt: Any, tup: Tuple) -> None:
    """Neither ack nor fail."""


class Bench:
    """A topology under test: the spout `spout`, and bolts as they are added; what happens is in `trace`."""

    def __init__(self, numbers: Iterable[int] = (), *, spouts: int = 1, **spout_spec: Any) -> None:
        self.trace: list[Any] = []
        self.clock = HandClock()
        self.waiting = deque(numbers)
        make = spout_spec.pop("make", lambda: Numbers(self.trace, self.waiting))
        spout = ComponentSpec("spout", make, True, spouts, **{"streams": DEFAULT, **spout_spec})
        self.components = [spout]

    def bolt(
        self,
        name: str,
        act: Callable[[Any, Tuple], None],
        *,
        source: str = "spout",
        stream: str = "default",
        grouping: Grouping = SHUFFLE,
        tasks: int = 1,
        **spec: Any,
    ) -> Bench:
        inputs = spec.pop("inputs", (Subscription(source, stream, grouping),))
        make = spec.pop("make", lambda: Acting(self.trace, act))
        spec = {"streams": DEFAULT, **spec}
        self.components.append(ComponentSpec(name, make, False, tasks, inputs=inputs, **spec))
        return self

    def start(self, *, seed: int | None = None, clock: Any = None, **conf: Any) -> Worker:
        conf = {"topology." + key.replace("_", "."): value for key, value in conf.items()}
        self.engine = Worker(
            Deployment(TopologySpec(tuple(self.components)), name="bench", conf=conf),
            edges=None,  # type: ignore[arg-type]
            clock=clock or self.clock,
            seed=seed,
        )
        self.engine.start()
        return self.engine

    def drain(self) -> Bench:
        for _ in range(100_000):
            if not self.engine.step():
                return self
        raise AssertionError("the engine never came to rest")

    def seen(self, what: str, component: str | None = None) -> list[Any]:
        """Which things `what` was noted of, in order."""
        return [which for name, _, noted, which in self.trace if noted == what and component in (None, name)]
