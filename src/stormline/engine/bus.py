"""What all tasks of one worker share: tuples on their way, the acker, and the tuples that spouts wait for.

What concerns a task of another worker goes over the transport, and comes in as a message from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from stormline.components.host import Context, Tuple
from stormline.engine.acker import Acker, RotatingMap, Verdict
from stormline.engine.clock import Clock
from stormline.engine.mail import Mail
from stormline.engine.messages import Acked, Begun, Carried, Failed, Message, Transport
from stormline.engine.tasks import ACKER


class Completion(NamedTuple):
    """On its way to a spout: its tuple is acked, or failed."""

    message_id: Any
    acked: bool


class Received:
    """A tuple on its way to a bolt, then in the bolt's hands."""

    __slots__ = ("made", "roots", "tuple")

    def __init__(self, tup: Tuple, roots: Mapping[int, int]) -> None:
        self.tuple = tup
        self.roots = roots
        """Root id -> edge id of this tuple; empty if nobody tracks it."""
        self.made = 0
        """XOR of the edge ids of the tuples anchored to it."""


class Bus:
    """`place`: task -> worker, for all workers; `here` is this one's number."""

    def __init__(
        self,
        clock: Clock,
        mail: Mail[Received | Completion],
        ids: Random,
        *,
        tasks: Mapping[str, range],
        place: Mapping[int, int],
        here: int,
        transport: Transport | None,
    ) -> None:
        self.clock = clock
        self.mail = mail
        self.acker = Acker()
        self.ackers = tasks[ACKER]
        self.pending: dict[int, RotatingMap[int, Any]] = {}
        """Spout task of this worker -> root -> message id of each tuple it waits for."""
        self.random_64 = ids.getrandbits
        self.local = frozenset(task for task, worker in place.items() if worker == here)
        self._place = place
        self._component = {task: name for name, ids_ in tasks.items() for task in ids_}
        self._transport = transport
        self._alone = len(self.local) == len(place)
        self._has_acker = any(task in self.local for task in self.ackers)
        self._acker_task = self.ackers[0] if self.ackers else 0
        self._sent = 0

    def send(self, source: Context, stream: str, target: int, values: Any, roots: Mapping[int, int]) -> None:
        if target in self.local:
            self._sent = number = self._sent + 1
            tup = Tuple(number, source.component, stream, source.task, values)
            self.mail.put(source.task, target, Received(tup, roots))
        else:
            self._to(target, Carried(target, source.task, stream, values, roots))

    def new_root(self) -> int:
        """Drawn so that its acker is in this worker, if there is one: then only remote acks travel."""
        root = self.random_64(64)
        while not self._alone and self._has_acker and self._acker_of(root) not in self.local:
            root = self.random_64(64)
        return root

    def begin(self, root: int, edges: int, spout_task: int) -> None:
        if self._alone or self._acker_of(root) in self.local:
            verdict = self.acker.init(root, edges, spout_task)
            if verdict is not None:
                self.conclude(verdict)
        else:
            self._to(self._acker_of(root), Begun(root, edges, spout_task))

    def ack(self, root: int, edges: int) -> None:
        if self._alone or self._acker_of(root) in self.local:
            verdict = self.acker.ack(root, edges)
            if verdict is not None:
                self.conclude(verdict)
        else:
            self._to(self._acker_of(root), Acked(root, edges))

    def fail(self, root: int) -> None:
        if self._alone or self._acker_of(root) in self.local:
            verdict = self.acker.fail(root)
            if verdict is not None:
                self.conclude(verdict)
        else:
            self._to(self._acker_of(root), Failed(root))

    def fail_trees(self, received: Received) -> None:
        for root in received.roots:
            self.fail(root)

    def conclude(self, verdict: Verdict) -> None:
        """Tell the spout, unless it no longer waits: its tuple timed out before, or it died."""
        root, spout_task, acked = verdict
        pending = self.pending.get(spout_task)
        if pending is None:
            self._to(spout_task, verdict)
            return
        message_id = pending.pop(root)
        if message_id is not None:
            self.mail.put(self._acker_task, spout_task, Completion(message_id, acked))

    def take_in(self, message: Message) -> None:
        """A message from another worker; `Behind` is for the transport."""
        match message:
            case Carried(target, source, stream, values, roots):
                self._sent += 1
                tup = Tuple(self._sent, self._component[source], stream, source, values)
                self.mail.put(source, target, Received(tup, roots))
            case Begun(root, edges, spout_task):
                self.begin(root, edges, spout_task)
            case Acked(root, edges):
                self.ack(root, edges)
            case Failed(root):
                self.fail(root)
            case Verdict():
                self.conclude(message)

    def time_out(self) -> None:
        """A message timeout has passed: what spouts emitted one to two of them ago has failed."""
        for task, pending in self.pending.items():
            self._fail(task, pending.rotate())
        self.acker.rotate()

    def fail_pending(self) -> None:
        """Whatever spouts wait for has failed: a worker died, and nobody knows what it held."""
        for task, pending in self.pending.items():
            self._fail(task, pending.clear())

    def bury(self, task: int, held: list[Received]) -> None:
        """A task died: nobody waits for its tuples any more, and those on their way to it or in its hands fail."""
        on_the_way = [parcel for parcel in self.mail.drop(task) if isinstance(parcel, Received)]
        if task in self.pending:
            self.pending[task] = RotatingMap(2)
        for received in on_the_way + held:
            self.fail_trees(received)

    @property
    def waited_for(self) -> int:
        """Tuples of this worker's spouts that are neither acked nor failed yet."""
        return sum(map(len, self.pending.values()))

    def _fail(self, spout_task: int, expired: Mapping[int, Any]) -> None:
        for message_id in expired.values():
            self.mail.put(self._acker_task, spout_task, Completion(message_id, acked=False))

    def _acker_of(self, root: int) -> int:
        return self.ackers[root % len(self.ackers)]

    def _to(self, task: int, message: Message) -> None:
        assert self._transport is not None
        self._transport.send(self._place[task], message)
