"""What a component may ask of whoever hosts it: the local engine, the test driver, or the multilang loop on a worker.

A host calls a component from one thread only, and never while another call to it is under way:

1. `prepare(host)` once, before anything else.
2. Spouts: `activate()`, then `next_tuple()` again and again; `ack` and `fail` between those calls.
   Bolts: `execute(tup)` for each tuple.
3. `on_time(now_ms)` once `due_ms` is reached; the host reads `due_ms` after every call. None: nothing is waited for.
4. `close()` once, at an orderly end. Never after a crash.

`Fenced` or `Died` raised from any call: the host drops the task and makes it anew; its unacked tuples fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stormline.core.status import Status

if TYPE_CHECKING:
    from stormline.components.edges import Edges


class Tuple(NamedTuple):
    """A Storm tuple as a bolt receives it; the five names are those of streamparse's Tuple."""

    id: str | int
    component: str
    stream: str
    task: int
    values: Any
    """A sequence with one entry a field of the stream; a `Batch` on our own streams."""


class Context(NamedTuple):
    """The part of Storm's TopologyContext that a component needs; the same facts as the multilang handshake."""

    topology: str
    component: str
    task: int
    tasks_by_component: Mapping[str, Sequence[int]]
    """Component -> its task ids, ascending."""
    targets: Mapping[str, Sequence[str]]
    """Stream of this component -> components subscribed to it."""
    sources: Sequence[tuple[str, str]]
    """(component, stream) of each subscription of this component."""
    conf: Mapping[str, Any]
    """Topology and component configuration, merged; ours are the `stormline.*` keys."""


class Host(Protocol):
    """The collector, the clock and the edges of one task."""

    context: Context
    edges: Edges

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: Any = None,
        task: int | None = None,
    ) -> Sequence[int]:
        """Send a tuple; the ids of the tasks that receive it.

        Spouts give `message_id` to have it tracked, bolts `anchors`; `task` is for direct streams.
        """

    def ack(self, tup: Tuple) -> None:
        """The tuple and all that was anchored to it by this bolt is taken care of. Once a tuple."""

    def fail(self, tup: Tuple) -> None:
        """The spout shall emit it again. Once a tuple, instead of `ack`."""

    def log(self, level: int, message: str) -> None:
        """A line in this task's log; levels are those of Python's logging."""

    def report_error(self, message: str) -> None:
        """Show an error to the operator; the component goes on."""

    def handshake(self) -> dict[str, Any]:
        """`conf` and `context` in the shape of Storm's multilang handshake."""

    def watch(self, fd: int, on_ready: Callable[[], None], *, write: bool = False) -> None:
        """Call `on_ready` on the component's thread whenever the file descriptor can be read (or written); one callback
        for each direction."""

    def unwatch(self, fd: int, *, write: bool = False) -> None:
        """End a watch; before the file descriptor is closed."""

    def now_ms(self) -> int:
        """Wall-clock time, ms since the epoch; never goes back within one host."""

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the component's thread, soon. The only method that other threads may call."""


class Component(Protocol):
    """What hosts see of every component of ours."""

    due_ms: int | None

    def prepare(self, host: Host) -> None: ...

    def on_time(self, now_ms: int) -> None: ...

    def status(self) -> Status: ...

    def close(self) -> None: ...


class SpoutComponent(Component, Protocol):
    """A component that feeds the topology."""

    def activate(self) -> None: ...

    def deactivate(self) -> None: ...

    def next_tuple(self) -> bool:
        """Emit at most one batch; False if there was nothing to emit (the host may then rest until something comes)."""

    def ack(self, message_id: Any) -> None: ...

    def fail(self, message_id: Any) -> None: ...


class BoltComponent(Component, Protocol):
    """A component that takes tuples."""

    def execute(self, tup: Tuple) -> None: ...
