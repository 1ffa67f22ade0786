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


Message = Carried | Begun | Acked | Failed | Verdict


class Transport(Protocol):
    """The way to the other workers; keeps the order of what is sent to one of them."""

    congested: bool
    """Somebody cannot keep up: spouts shall wait."""

    def send(self, worker: int, message: Message) -> None:
        """Never blocks; what cannot go now waits."""
