"""A task of the keyed bolt of a history: the real rules; its flushes reach the server one by one, late, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stormline.core.errors import Fenced
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.progress import Progress, ProgressView
from stormline.core.requests import Counted, Counts, Flush, Load, Loaded, Refused, Reply, Unknown
from stormline.core.slot import owned_slots

if TYPE_CHECKING:
    from simulation.world import World


class Task:
    """A task of the keyed bolt."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index, self.run, self.alive = world, index, world.run, True
        self.owner = f"k{world.storm.number()}"
        self.load(again=False)

    def load(self, *, again: bool) -> None:
        world = self.world
        counted = world.server.ask(Counts())
        assert isinstance(counted, Counted)
        state = KeyedState(world.rules, self.owner, ProgressView({"S": counted.partition_counts.get("S", 0)}))
        for slot in owned_slots(self.index, world.tasks):
            if slot not in world.invariants.slots:
                continue
            loaded = world.server.ask(Load("K", slot, self.owner, self.run, again))
            if isinstance(loaded, Refused):
                self.alive = False
                return
            assert isinstance(loaded, Loaded)
            state.load(loaded)
        self.state = state
        self.inflight: list[tuple[Flush, float]] = []

    def take(self, values: Any, roots: set[int], tup: int) -> None:
        if isinstance(values, Progress):
            self.state.observe(values)
            for stream, output in self.state.send(values):
                self.world.send("D", 0, (stream, output), roots, self.run)
            if self.world.draining or self.world.random.random() > 0.05:
                self.world.storm.ack(roots, tup)
            return
        held = Held((roots, tup))
        broken = self.state.apply(values, held)
        assert not broken
        if held.waits == 0:
            self.world.storm.ack(roots, tup)

    def flush(self) -> None:
        """Begin a flush; its commands reach the server one by one, later, or never."""
        flushes = self.state.flush()
        self.world.random.shuffle(flushes)
        self.inflight += [(flush, self.world.random.random()) for flush in flushes]

    def deliver_flush(self) -> None:
        world = self.world
        flush, fate = self.inflight.pop(0)
        fate = 1.0 if world.draining else fate
        if fate < 0.08:
            answer: Reply = Unknown("not sent")
        elif fate < 0.18:
            world.ghosts.append(flush)
            answer = Unknown("timed out, still on its way")
        else:
            answer = world.apply(flush)
            if fate < 0.26:
                answer = Unknown("reply lost")
        try:
            acks = self.state.flushed(flush.slot, answer)
        except Fenced:
            self.alive = False
            return
        if not world.draining and world.random.random() < 0.05:
            self.alive = False  # dies between the flush and the acks
            return
        for roots, tup in acks:
            world.storm.ack(roots, tup)

    def reload(self) -> None:
        """The server was restarted: forget, and load again what is still one's own."""
        for held in {id(h): h for h in self.state.held()}.values():
            self.world.storm.fail(held.tup[0])
        self.load(again=True)
