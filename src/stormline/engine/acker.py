"""Who knows when a spout's tuple is done with: the XOR acker, and the maps that forget by rotating.

Every tuple sent carries a random 64-bit edge id. The acker keeps one number a root: the XOR of all edge ids made and
all edge ids acked. Each id enters twice, once made and once acked, so the number is zero when every tuple of the tree
is acked, and (but for one chance in 2^64) only then. Source: Storm's `Acker` and `RotatingMap`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Verdict(NamedTuple):
    """A tree has ended: `acked`, or failed."""

    root: int
    spout_task: int
    acked: bool


class Acker:
    """Follows tuple trees. `init`, `ack` and `fail` of one root may come in any order; each returns the verdict if it
    ends the tree. A tree that was judged is forgotten: what still comes for it ends nothing."""

    def __init__(self) -> None:
        self._trees: RotatingMap[int, _Tree] = RotatingMap(3)

    def init(self, root: int, edges: int, spout_task: int) -> Verdict | None:
        """The spout sent a tuple; `edges` is the XOR of the edge ids towards its receivers."""
        tree = self._trees.get(root)
        if tree is None:
            if edges == 0:
                return Verdict(root, spout_task, acked=True)  # nobody receives it
            self._trees.add(root, _Tree(edges, spout_task))
            return None
        tree.value ^= edges
        tree.spout_task = spout_task
        return self._judge(root, tree)

    def ack(self, root: int, edges: int) -> Verdict | None:
        """A bolt acked: `edges` is the edge id of its input XOR those of all tuples that it anchored to it."""
        tree = self._trees.get(root)
        if tree is None:
            self._trees.add(root, _Tree(edges, None))
            return None
        tree.value ^= edges
        return None if tree.value and not tree.failed else self._judge(root, tree)

    def fail(self, root: int) -> Verdict | None:
        tree = self._trees.get(root)
        if tree is None:
            tree = _Tree(0, None)
            self._trees.add(root, tree)
        tree.failed = True
        return self._judge(root, tree)

    def rotate(self) -> None:
        """A message timeout has passed: forget trees begun two to three of them ago; the spout's own map has
        failed them before."""
        self._trees.rotate()

    def __len__(self) -> int:
        return len(self._trees)

    def _judge(self, root: int, tree: _Tree) -> Verdict | None:
        if (tree.value and not tree.failed) or tree.spout_task is None:
            return None
        self._trees.pop(root)
        return Verdict(root, tree.spout_task, acked=not tree.failed)


class _Tree:
    __slots__ = ("failed", "spout_task", "value")

    def __init__(self, value: int, spout_task: int | None) -> None:
        self.value = value
        self.spout_task = spout_task
        self.failed = False


class RotatingMap(Generic[K, V]):
    """A map that lets go of what was added `buckets - 1` to `buckets` rotations ago.

    Rotated every T, two buckets give Storm's message timeout: an entry expires between T and 2T after it was added.
    """

    def __init__(self, buckets: int) -> None:
        self._buckets: list[dict[K, V]] = [{} for _ in range(buckets)]

    def add(self, key: K, value: V) -> None:
        """`key` is not in the map."""
        self._buckets[0][key] = value

    def get(self, key: K) -> V | None:
        for bucket in self._buckets:
            if key in bucket:
                return bucket[key]
        return None

    def pop(self, key: K) -> V | None:
        """Take the entry out; None if it is not there (any more)."""
        for bucket in self._buckets:
            if key in bucket:
                return bucket.pop(key)
        return None

    def rotate(self) -> dict[K, V]:
        """Returns what expired."""
        expired = self._buckets.pop()
        self._buckets.insert(0, {})
        return expired

    def clear(self) -> dict[K, V]:
        """Take all out; the older ones come first."""
        everything: dict[K, V] = {}
        for bucket in reversed(self._buckets):
            everything |= bucket
            bucket.clear()
        return everything

    def __len__(self) -> int:
        return sum(map(len, self._buckets))
