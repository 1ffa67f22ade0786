"""What one worker tells another: tuples, and what the acker needs to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from stormline.engine.acker import Verdict


class Carried(NamedTuple):
    """A tuple for a task of another worker."""

    target: int
    source: int
    stream: str
    values: Any
    roots: Mapping[int, int]
    """Root id -> edge id of this tuple."""


class Begun(NamedTuple):
    """A spout sent a tuple: `Acker.init`."""

    root: int
    edges: int
    spout_task: int


class Acked(NamedTuple):
    """A bolt acked: `Acker.ack`."""

    root: int
    edges: int


class Failed(NamedTuple):
    """A bolt failed a tuple: `Acker.fail`."""

    root: int


class Behind(NamedTuple):
    """A worker cannot keep up, or can again."""

    worker: int
    behind: bool


Message = Carried | Begun | Acked | Failed | Verdict | Behind


class Transport(Protocol):
    """The way to the other workers; keeps the order of what is sent to one of them."""

    @property
    def congested(self) -> bool:
        """Somebody cannot keep up: spouts shall wait."""

    def send(self, worker: int, message: Message) -> None:
        """Never blocks; what cannot go now waits."""

    def flush(self, *, behind: bool) -> None:
        """Hand what waits to the system; `behind`: whether this worker cannot keep up, for the others to know."""
