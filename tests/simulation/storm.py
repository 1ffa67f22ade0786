"""Storm in a history: messages on their way, and the trees of tuples that wait for their acks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.spout import Spout


class Storm:
    """Whatever is in `net` arrives in any order, or never."""

    def __init__(self) -> None:
        self.net: list[Callable[[], None]] = []
        self.roots: dict[int, tuple[Spout, str, set[int]]] = {}
        self._number = 0

    def number(self) -> int:
        """One that nobody had before."""
        self._number += 1
        return self._number

    def forget(self) -> None:
        """The topology is replaced: nothing of it is on its way any more."""
        self.net, self.roots = [], {}

    def root(self, spout: Spout, message_id: str) -> int:
        root = self.number()
        self.roots[root] = (spout, message_id, set())
        return root

    def send(self, roots: set[int], receive: Callable[[int], None]) -> None:
        """A tuple, anchored to those of the roots that still wait."""
        tup = self.number()
        for root in roots & self.roots.keys():
            self.roots[root][2].add(tup)
        self.net.append(lambda: receive(tup))

    def ack(self, roots: set[int], tup: int) -> None:
        for root in roots & self.roots.keys():
            spout, message_id, waiting = self.roots[root]
            waiting.discard(tup)
            if not waiting:
                del self.roots[root]
                self.net.append(Ack(spout, message_id))

    def fail(self, roots: set[int]) -> None:
        for root in roots & self.roots.keys():
            spout, message_id, _ = self.roots.pop(root)
            if spout.alive:
                spout.ended(message_id, acked=False)


class Ack:
    """The acker's word to a spout, on its way."""

    def __init__(self, spout: Spout, message_id: str) -> None:
        self.spout, self.message_id = spout, message_id

    def __call__(self) -> None:
        if self.spout.alive:
            self.spout.ended(self.message_id, acked=True)

    def time_out(self) -> None:
        """It was lost: the spout's own pending map tells it so."""
        if self.spout.alive:
            self.spout.ended(self.message_id, acked=False)
