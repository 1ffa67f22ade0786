"""A spout task of a history: the real rules over a topic, partitions, commits and messages that are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.invariants import expect

from stormline.core.batch import Batch, Rows
from stormline.core.progress import PROGRESS_FIELDS, Told
from stormline.core.requests import Applied, Enter, Entered, Mark
from stormline.core.source import Source

if TYPE_CHECKING:
    from simulation.world import World

TOLD = PROGRESS_FIELDS[0]


class Spout:
    """A spout task; `alive` but replaced, it is a zombie."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index, self.run, self.alive = world, index, world.run, True
        self.source = Source("S", index, f"s{world.storm.number()}", world.limits)
        self.marked: dict[str, int] = {}
        self.told = Told()
        self.discover()

    def ended(self, message_id: str, *, acked: bool) -> None:
        """The tree of a tuple is acked, or failed."""
        kind, _, sequence = message_id.partition("/")
        if kind == TOLD:
            self.told.came_to(int(sequence), arrived=acked)
        elif acked:
            self.source.ack(message_id)
        else:
            self.source.fail(message_id, self.world.now_ms)

    def discover(self) -> None:
        """Take up the partitions that are known now (S1). Records of one that was not known at the beginning may be
        late: some bolt does not know of it, or has passed it."""
        world, topic = self.world, self.world.topic
        mine = {f"t/{p}": topic.committed[p] for p in range(topic.known) if p % world.spouts == self.index}
        new = {p: o for p, o in mine.items() if p not in self.source.partitions}
        enter = Enter("S", topic.known, {p: o for p, o in new.items() if o > 0}, tuple(new), tuple(new))
        expect(isinstance(world.server.ask(enter), Entered), "I6: a false alarm: Redis has lost nothing")
        self.source.partition_count = max(self.source.partition_count, topic.known)
        for partition, start in new.items():
            starts = world.aside.choice([*[0] * 14, 5, 6])
            self.source.assign(partition, start, start, world.now_ms, starts)
            if int(partition[2:]) >= topic.known_at_first:
                world.invariants.unknown_to.add(f"{partition[2:]}:")
            if start > 0:
                self.marked[partition] = start

    def fetch(self) -> None:
        world, topic = self.world, self.world.topic
        wanted = sorted(self.source.wanted())
        if not wanted:
            return
        partition = world.random.choice(wanted)
        p = int(partition[2:])
        at, end = self.source.partitions[partition].position, topic.produced[p]
        offsets = [o for o in range(at, min(at + world.random.randint(1, 3), end)) if o not in topic.gaps[p]]
        beyond = max(at, min(end, (offsets[-1] if offsets else at) + 1))
        rows = Rows(offsets, [topic.logs[p][o] for o in offsets], [f"{p}:{o}" for o in offsets])
        self.source.take(partition, rows, [], beyond, end, world.now_ms)
        spread = self.source.partitions[partition].position - self.source.partitions[partition].offset
        expect(spread <= world.limits.span + 3, f"I5: {partition} is {spread} offsets ahead of its frontier")
        if world.draining:
            self.source.bound(topic.ends)

    def emit(self) -> None:
        emission = self.source.next(self.world.now_ms)
        if emission is None and self.source.to_try is not None:
            self.source.tried(*self.source.to_try)
        elif emission is not None:
            root = self.world.storm.root(self, emission.message_id)
            self.world.send("M", 0, Batch(-1, "S", emission.partition, emission.records), {root}, self.run)

    def skip(self) -> None:
        """An operator passes a record over; its dead letter takes its time, and may be lost with the process."""
        world = self.world
        partition = world.aside.choice(sorted(self.source.partitions) or [""])
        if not partition or (frontier := self.source.partitions[partition]).offset == frontier.position:
            return
        offset = world.aside.randrange(frontier.offset, frontier.position)
        skipped = self.source.skip(partition, offset, world.now_ms)
        if skipped is not None:
            world.invariants.skipped.add(f"{partition[2:]}:{offset}")
            world.storm.net.append(lambda: self.source.settle(partition, skipped.number))

    def progress(self) -> None:
        world = self.world
        progress = self.told.stamp(self.source.progress(world.now_ms))
        for claim in progress.claims:
            world.invariants.check_durable(claim.partition, claim.frontier, "a claim")
            if claim.idle:
                world.invariants.idle(int(claim.partition[2:]), claim.position)
        root = world.storm.root(self, f"{TOLD}/{progress.sequence}")
        for index in range(world.tasks):
            for _ in range(1 + (world.random.random() < 0.1)):
                world.send("K", index, progress, {root}, self.run)

    def commit(self) -> None:
        """Redis first (S5); the commit itself takes its time, and the last writer wins."""
        frontiers = self.source.frontiers()
        answer = self.world.server.ask(Mark(frontiers, self.marked))
        expect(isinstance(answer, Applied), f"I6: a false alarm: {answer}")
        self.marked.update(frontiers)
        self.world.storm.net.append(lambda: self.world.commit(frontiers))
