"""One random history of the protocol: the real core and the real scripts in a real server, everything else made up.

A step is one atomic action of one process or the delivery of one message, drawn at random: emits, flushes, acks,
progress, commits, time-outs; crashes, zombies (processes taken for dead that go on), replaced topologies with another
number of tasks, restarts of the server, lost tuples, lost replies, flushes that arrive when nobody waits for them.
The clock is the number of the step. One seed is one history.

The topology: a spout S, a stateless step M that turns a record into 0 to 3 outputs and cuts its tuples where it likes
(on a diamond, two lanes), and a keyed bolt K that collects the identities of what it counted, so that the windows in
the server say of each output how often it was counted. Not in here: several spouts, sessions, real time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import redis
from simulation.one_pass import one_pass

from stormline.connectors.redis_commands import SCRIPTS, command, reply
from stormline.core.aggregate import Aggregation
from stormline.core.batch import Batch, Rows
from stormline.core.errors import Fenced
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.pending import Limits
from stormline.core.progress import PROGRESS_FIELDS, Progress, ProgressView, Told
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Enter,
    Entered,
    Flush,
    Load,
    Loaded,
    Mark,
    Refused,
    Reply,
    Unknown,
)
from stormline.core.slot import key_column, key_text, owned_slots, owner_index, slot_of
from stormline.core.source import Source
from stormline.core.split import Split
from stormline.core.table import Rules
from stormline.core.window import CountWindow, Sliding, Tumbling, count_window, session, sliding

APP, SIZE_MS, STEP_MS = "sim", 10, 50
KEYS = range(5)
TOLD = PROGRESS_FIELDS[0]
WINDOWS = (Tumbling(SIZE_MS), sliding("10ms", "2ms"), sliding("9ms", "6ms"), session("4ms"), count_window(3))


class Violation(AssertionError):
    """An invariant does not hold; the message begins with its name."""


class Output(msgspec.Struct, frozen=True):
    """One output of a record."""

    id: str


class Identities:
    """An aggregate that keeps the identity of each output it was given."""

    value = "id"

    def create(self) -> list[str]:
        return []

    def add(self, accumulator: list[str], value: str) -> list[str]:
        return [*accumulator, value]

    def merge(self, left: list[str], right: list[str]) -> list[str]:
        return left + right

    def result(self, accumulator: list[str]) -> list[str]:
        return accumulator


class Server:
    """The server of all histories: each begins with an empty one."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.shas = {name: client.script_load(text) for name, text in SCRIPTS.items()}
        self.used: set[int] = set()

    def ask(self, request: Any) -> Reply:
        try:
            answer = self.client.execute_command(*command(APP, request, self.shas))
        except redis.ResponseError as error:
            answer = error
        if isinstance(request, Flush):
            self.used.add(request.slot)
        return reply(request, answer)


class Spout:
    """A spout task; `alive` but replaced, it is a zombie."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index, self.run, self.alive = world, index, world.run, True
        self.source = Source("S", index, f"s{world.number()}", world.limits)
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
        world = self.world
        mine = {f"t/{p}": world.committed[p] for p in range(world.known) if p % world.spouts == self.index}
        new = {p: o for p, o in mine.items() if p not in self.source.partitions}
        enter = Enter("S", world.known, {p: o for p, o in new.items() if o > 0}, tuple(new), tuple(new))
        world.expect(isinstance(world.server.ask(enter), Entered), "I6: a false alarm: Redis has lost nothing")
        self.source.partition_count = max(self.source.partition_count, world.known)
        for partition, start in new.items():
            starts = world.aside.choice([*[0] * 14, 5, 6])
            self.source.assign(partition, start, start, world.now_ms, starts)
            if int(partition[2:]) >= world.known_at_first:
                world.unknown_to.add(f"{partition[2:]}:")
            if start > 0:
                self.marked[partition] = start

    def fetch(self) -> None:
        world = self.world
        wanted = sorted(self.source.wanted())
        if not wanted:
            return
        partition = world.random.choice(wanted)
        p = int(partition[2:])
        at, end = self.source.partitions[partition].position, world.produced[p]
        offsets = [o for o in range(at, min(at + world.random.randint(1, 3), end)) if o not in world.gaps[p]]
        beyond = max(at, min(end, (offsets[-1] if offsets else at) + 1))
        rows = Rows(offsets, [world.logs[p][o] for o in offsets], [f"{p}:{o}" for o in offsets])
        self.source.take(partition, rows, [], beyond, end, world.now_ms)
        spread = self.source.partitions[partition].position - self.source.partitions[partition].offset
        world.expect(spread <= world.limits.span + 3, f"I5: {partition} is {spread} offsets ahead of its frontier")
        if world.draining:
            self.source.bound({f"t/{p}": len(log) for p, log in enumerate(world.logs)})

    def emit(self) -> None:
        emission = self.source.next(self.world.now_ms)
        if emission is None and self.source.to_try is not None:
            self.source.tried(*self.source.to_try)
        elif emission is not None:
            root = self.world.root(self, emission.message_id)
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
            world.skipped.add(f"{partition[2:]}:{offset}")
            world.net.append(lambda: self.source.settle(partition, skipped.number))

    def progress(self) -> None:
        world = self.world
        progress = self.told.stamp(self.source.progress(world.now_ms))
        for claim in progress.claims:
            world.check_durable(claim.partition, claim.frontier, "a claim")
            if claim.idle:
                p = int(claim.partition[2:])
                world.idle_from[p] = min(world.idle_from[p], claim.position)
        root = world.root(self, f"{TOLD}/{progress.sequence}")
        for index in range(world.tasks):
            for _ in range(1 + (world.random.random() < 0.1)):
                world.send("K", index, progress, {root}, self.run)

    def commit(self) -> None:
        """Redis first (S5); the commit itself takes its time, and the last writer wins."""
        frontiers = self.source.frontiers()
        answer = self.world.server.ask(Mark(frontiers, self.marked))
        self.world.expect(isinstance(answer, Applied), f"I6: a false alarm: {answer}")
        self.marked.update(frontiers)
        self.world.net.append(lambda: self.world.commit(frontiers))


class Task:
    """A task of the keyed bolt."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.index, self.run, self.alive = world, index, world.run, True
        self.owner = f"k{world.number()}"
        self.load(again=False)

    def load(self, *, again: bool) -> None:
        world = self.world
        counted = world.server.ask(Counts())
        assert isinstance(counted, Counted)
        state = KeyedState(world.rules, self.owner, ProgressView({"S": counted.partition_counts.get("S", 0)}))
        for slot in owned_slots(self.index, world.tasks):
            if slot not in world.slots:
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
                self.world.ack(roots, tup)
            return
        held = Held((roots, tup))
        broken = self.state.apply(values, held)
        assert not broken
        if held.waits == 0:
            self.world.ack(roots, tup)

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
            world.ack(roots, tup)

    def reload(self) -> None:
        """The server was restarted: forget, and load again what is still one's own."""
        for held in {id(h): h for h in self.state.held()}.values():
            self.world.fail(held.tup[0])
        self.load(again=True)


class Ack:
    """The acker's word to a spout, on its way."""

    def __init__(self, world: World, spout: Spout, message_id: str) -> None:
        self.world, self.spout, self.message_id = world, spout, message_id

    def __call__(self) -> None:
        if self.spout.alive:
            self.spout.ended(self.message_id, acked=True)

    def time_out(self) -> None:
        """It was lost: the spout's own pending map tells it so."""
        if self.spout.alive:
            self.spout.ended(self.message_id, acked=False)


class World:
    """All processes, messages and faults of one history."""

    def __init__(self, seed: int, server: Server) -> None:
        self.random = random = Random(seed)
        drawn = Random(f"window of {seed}")
        self.aside = Random(f"operator of {seed}")
        self.skipped: set[str] = set()
        self.windower: Any = drawn.choice(WINDOWS) if drawn.random() < 0.6 else WINDOWS[0]
        self.server = server
        server.client.flushall()
        server.client.set(f"{{{APP}}}:run", 0)
        self.now_ms = self._number = self.run = 0
        self.diamond = random.random() < 0.4
        partitions = random.randint(1, 3)
        self.out_of_order_ms, self.lateness_ms = random.choice([0, 5, 12]), random.choice([0, 0, 7])
        idle_after_ms = 200 if random.random() < 0.25 else None
        self.limits = Limits(self.out_of_order_ms, random.randint(6, 30), random.randint(4, 20), idle_after_ms)
        self.rules = Rules("K", (self.windower,), Aggregation({"ids": Identities()}, Output), self.lateness_ms)
        self.rules = self.rules._replace(streams=frozenset({"final", "late"}))
        self.logs = [self._log(random.randint(3, 14)) for _ in range(partitions)]
        self.gaps = [{o for o in range(len(log)) if random.random() < 0.1} for log in self.logs]
        self.known = self.known_at_first = partitions if random.random() < 0.7 else 1
        self.produced = [random.randint(0, len(log)) for log in self.logs]
        self.committed = [0] * partitions
        self.idle_from = [len(log) for log in self.logs]
        self.unknown_to: set[str] = set()
        self.keys = {f"{p}:{o}": self._keys(f"{p}:{o}") for p, log in enumerate(self.logs) for o in range(len(log))}
        lanes = ("a", "b") if self.diamond else ("m",)
        self.expected = {
            f"{record}:{n}:{lane}": self.logs[int(record.split(":")[0])][int(record.split(":")[1])]
            for record, keys in self.keys.items()
            if int(record.split(":")[1]) not in self.gaps[int(record.split(":")[0])]
            for n in range(len(keys))
            for lane in lanes
        }
        self.slots = {slot_of(key_text(key)) for key in KEYS}
        self.net: list[Callable[[], None]] = []
        self.roots: dict[int, tuple[Spout, str, set[int]]] = {}
        self.delivered: dict[str, tuple[str, list[Any]]] = {}
        self.ghosts: list[Flush] = []
        self.zombies: list[Spout | Task] = []
        self.draining = False
        self._held: tuple[list[str], list[str]] | None = None
        self.submit()

    def _log(self, length: int) -> list[int]:
        at, log = 0, []
        for _ in range(length):
            at += self.random.randint(0, 8)
            log.append(max(0, at - self.random.randint(0, self.out_of_order_ms + 4)))
        return log

    def _keys(self, record: str) -> list[int]:
        """The keys of a record's outputs: the user's function, the same at every replay."""
        random = Random(f"outputs of {record}")
        return [random.choice(KEYS) for _ in range(random.choice([0, 1, 1, 1, 2, 3]))]

    def number(self) -> int:
        self._number += 1
        return self._number

    def expect(self, holds: bool, violation: str) -> None:
        if not holds:
            raise Violation(violation)

    # the topology

    def submit(self) -> None:
        self.run += 1
        self.net, self.roots = [], {}
        self.spouts, self.tasks = self.random.randint(1, 2), self.random.randint(1, 3)
        self.split = Split("by_K", key_column(lambda value: value), self.tasks)
        self.spout_tasks = [Spout(self, i) for i in range(self.spouts)]
        self.keyed_tasks = [Task(self, i) for i in range(self.tasks)]

    def send(self, to: str, index: int, values: Any, roots: set[int], run: int) -> None:
        tup = self.number()
        live = {root for root in roots if root in self.roots}
        for root in live:
            self.roots[root][2].add(tup)
        self.net.append(lambda: self.receive(to, index, values, roots, tup, run))

    def receive(self, to: str, index: int, values: Any, roots: set[int], tup: int, run: int) -> None:
        if run != self.run:
            return
        if to == "M":
            self.stateless(values, roots, tup)
            return
        if to == "D":
            if self.draining or self.random.random() > 0.1:
                self.sink(*values)
                self.ack(roots, tup)
            return
        zombies = [z for z in self.zombies if isinstance(z, Task) and z.alive and z.run == run and z.index == index]
        task = self.random.choice(zombies) if zombies and self.random.random() < 0.3 else self.keyed_tasks[index]
        if task.alive:
            task.take(values, roots, tup)

    def sink(self, stream: str, values: list[Any]) -> None:
        """Whoever reads the results: what comes again under its identity must be the same."""
        identity = values[-1]
        before = self.delivered.setdefault(identity, (stream, values))
        self.expect(before == (stream, values), f"I8: {identity} was {before}, comes again as {values}")

    def stateless(self, batch: Batch, roots: set[int], tup: int) -> None:
        """Outputs of one origin for one slot stay together; everything else may be cut anywhere (B1)."""
        dies = not self.draining and self.random.random() < 0.04
        for lane in ("a", "b") if self.diamond else ("m",):
            rows = batch.records
            pieces = [(0, len(rows.offsets))]
            if self.random.random() < 0.5:
                pieces = [(i, i + 1) for i in range(len(rows.offsets))]
            for first, last in pieces:
                out, keys = Rows([], [], []), []
                for offset, time_ms, record in zip(*(c[first:last] for c in rows[:3]), strict=True):
                    for n, key in enumerate(self.keys[record]):
                        out.offsets.append(offset)
                        out.times_ms.append(time_ms)
                        out.values.append(Output(f"{record}:{n}:{lane}"))
                        keys.append(key_text(key))
                for values in self.split.batches(f"{batch.lane}/{lane}", batch.partition, out, keys):
                    if dies and self.random.random() < 0.5:
                        continue
                    self.send("K", owner_index(values.slot, self.tasks), values, roots, self.run)
        if not dies:
            self.ack(roots, tup)

    # Storm

    def root(self, spout: Spout, message_id: str) -> int:
        root = self.number()
        self.roots[root] = (spout, message_id, set())
        return root

    def ack(self, roots: set[int], tup: int) -> None:
        for root in roots & self.roots.keys():
            spout, message_id, waiting = self.roots[root]
            waiting.discard(tup)
            if not waiting:
                del self.roots[root]
                self.net.append(Ack(self, spout, message_id))

    def fail(self, roots: set[int]) -> None:
        for root in roots & self.roots.keys():
            spout, message_id, _ = self.roots.pop(root)
            if spout.alive:
                spout.ended(message_id, acked=False)

    # the outside world

    def commit(self, frontiers: dict[str, int]) -> None:
        for partition, offset in frontiers.items():
            self.check_durable(partition, offset, "a commit")
            self.committed[int(partition[2:])] = offset

    def apply(self, flush: Flush) -> Reply:
        self._held = None
        before = self.windows(flush.slot)
        answer = self.server.ask(flush)
        after = self.windows(flush.slot)
        for window, (entry, ids) in before.items():
            if entry["state"] == "final" and (window not in after or ids != after[window][1]):
                # A session that is part of another one now is found where its records are.
                now = after[window] if window in after else next(w for w in after.values() if ids <= w[1])
                revised = now[0]["revision"] > entry["revision"]
                self.expect(revised, f"I3: window {window} was final with {ids}, now {now}")
        return answer

    def windows(self, slot: int) -> dict[str, tuple[dict[str, Any], set[str]]]:
        """What the server holds of a slot: id -> (index entry, identities counted)."""
        tag = f"{{{APP}:K:{slot}}}"
        found = {}
        for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
            rows = self.server.client.hvals(f"{tag}:w:{field.decode()}")
            ids = [i for row in rows for i in msgspec.json.decode(row)["ids"]]
            self.expect(len(ids) == len(set(ids)), f"I1: counted twice in window {field.decode()}: {sorted(ids)}")
            found[field.decode().partition(":")[2]] = (msgspec.json.decode(entry), set(ids))
        if not isinstance(self.windower, Sliding):
            every = [i for _, ids in found.values() for i in ids]
            self.expect(len(every) == len(set(every)), f"I1: counted in two windows: {sorted(every)}")
        return found

    def effects(self) -> tuple[list[str], list[str]]:
        """All that was counted, and all that was late, by the server."""
        if self._held is not None:
            return self._held
        counted: list[str] = []
        late: list[str] = []
        for slot in self.slots:
            for _, ids in self.windows(slot).values():
                counted += ids - set(counted)
            records = self.server.client.hvals(f"{{{APP}:K:{slot}}}:late")
            late += [msgspec.json.decode(record)["record"]["id"] for record in records]
        counted += self.in_panes() - set(counted)
        self._held = counted, late
        return counted, late

    def in_panes(self) -> set[str]:
        """What is counted and not yet shown in a window."""
        found: set[str] = set()
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field in self.server.client.hkeys(f"{tag}:live"):
                if b"#panes" in field and not isinstance(self.windower, CountWindow):
                    rows = self.server.client.hvals(f"{tag}:s:{field.decode()}")
                    found |= {i for row in rows for ids in msgspec.json.decode(row) for i in ids}
        return found

    def check_durable(self, partition: str, upto: int, what: str) -> None:
        counted, late = self.effects()
        have = {*counted, *late, *(output for output in self.expected if self.is_skipped(output))}
        p = int(partition[2:])
        missing = [
            i for i in self.expected if int(i.split(":")[0]) == p and int(i.split(":")[1]) < upto and i not in have
        ]
        self.expect(not missing, f"I4: {what} of {partition}:{upto} passes {missing}, which the server does not hold")

    # time

    def step(self) -> None:
        random, x = self.random, self.random.random()
        self.now_ms += STEP_MS
        spouts = [s for s in [*self.spout_tasks, *self.zombies] if isinstance(s, Spout) and s.alive]
        tasks = [t for t in [*self.keyed_tasks, *self.zombies] if isinstance(t, Task) and t.alive]
        if x < 0.42 and self.net:
            self.net.pop(random.randrange(len(self.net)))()
        elif x < 0.50 and spouts:
            random.choice(spouts).fetch()
        elif x < 0.60 and spouts:
            random.choice(spouts).emit()
        elif x < 0.66 and tasks:
            random.choice(tasks).flush()
        elif x < 0.76:
            flying = [t for t in tasks if t.inflight]
            if flying:
                random.choice(flying).deliver_flush()
        elif x < 0.82 and spouts:
            random.choice(spouts).progress()
        elif x < 0.86 and spouts:
            random.choice(spouts).commit()
        elif x < 0.89 and self.roots:
            self.fail({random.choice(sorted(self.roots))})
        elif x < 0.92 and self.ghosts:
            self.apply(self.ghosts.pop(random.randrange(len(self.ghosts))))
        elif x < 0.96:
            p = random.randrange(len(self.logs))
            self.produced[p] = min(len(self.logs[p]), self.produced[p] + 1)
        elif x < 0.97:
            self.known = len(self.logs) if random.random() < 0.3 else self.known
            if spouts:
                self.add_partitions(random.choice(spouts))
        elif random.random() < 0.5:
            self.fault()
        if spouts and self.aside.random() < 0.0007:
            self.aside.choice(spouts).skip()
        self.revive()

    def add_partitions(self, spout: Spout) -> None:
        if len(spout.source.partitions) < sum(p % self.spouts == spout.index for p in range(self.known)):
            spout.discover()

    def revive(self) -> None:
        for i, task in enumerate(self.keyed_tasks):
            if not task.alive:
                self.keyed_tasks[i] = Task(self, i)

    def fault(self) -> None:
        random, x = self.random, self.random.random()
        if x < 0.3:
            i = random.randrange(self.spouts)
            self.lose(self.spout_tasks[i])
            self.spout_tasks[i] = Spout(self, i)
        elif x < 0.6:
            i = random.randrange(self.tasks)
            self.lose(self.keyed_tasks[i])
            self.keyed_tasks[i] = Task(self, i)
        elif x < 0.7:
            for process in [*self.spout_tasks, *self.keyed_tasks]:
                self.lose(process)
            self.submit()
        elif x < 0.8:
            self.ghosts = []
            for task in [*self.keyed_tasks, *self.zombies]:
                if isinstance(task, Task) and task.alive:
                    task.reload()
        elif x < 0.9 and self.zombies:
            self.zombies.pop(random.randrange(len(self.zombies))).alive = False
        elif self.net:
            message = self.net.pop(random.randrange(len(self.net)))
            if isinstance(message, Ack):
                message.time_out()

    def lose(self, process: Spout | Task) -> None:
        """It dies, or only seems to."""
        if self.random.random() < 0.4:
            self.zombies.append(process)
        else:
            process.alive = False

    def play(self) -> None:
        """Faults first; then they stop, and everything must come to its end."""
        for _ in range(self.random.choice([80, 200, 400])):
            self.step()
        self.draining = True
        for process in self.zombies:
            process.alive = False
        self.known, self.produced = len(self.logs), [len(log) for log in self.logs]
        for spout in self.spout_tasks:
            self.add_partitions(spout)
        for round_ in range(150):
            if self.drain(round_):
                break
        else:
            raise Violation(f"I6: it does not come to its end: {len(self.roots)} tuples wait")
        self.check()

    def drain(self, round_: int) -> bool:
        self.now_ms += 500
        for spout in self.spout_tasks:
            for _ in range(8):
                spout.fetch()
                spout.emit()
            spout.source.bound({f"t/{p}": len(log) for p, log in enumerate(self.logs)})
        while self.net:
            self.net.pop(self.random.randrange(len(self.net)))()
        for task in self.keyed_tasks:
            task.flush()
            while task.alive and task.inflight:
                task.deliver_flush()
        self.revive()
        while self.ghosts:
            self.apply(self.ghosts.pop())
        for spout in self.spout_tasks:
            spout.commit()
            spout.progress()
        if round_ % 12 == 11:
            self.fail(set(self.roots))
        entries = [entry for slot in self.slots for entry, _ in self.windows(slot).values()]
        ended = all(spout.source.ended or not spout.source.partitions for spout in self.spout_tasks)
        closed = isinstance(self.windower, CountWindow) or all(entry["state"] == "final" for entry in entries)
        sent = not any(self.server.client.hlen(f"{{{APP}:K:{slot}}}:outputs") for slot in self.slots)
        return ended and closed and sent and not self.in_panes()

    def check(self) -> None:
        counted, late = self.effects()
        if not self.skipped and all(self.in_time(output) for output in self.expected):
            self.check_windows()
        self.check_delivered(late)
        for output, time_ms in self.expected.items():
            times, lates = counted.count(output), late.count(output)
            least = 0 if self.is_skipped(output) else 1
            self.expect(least <= times + lates <= 1, f"I1: {output} was counted {times} times and late {lates} times")
            in_time = lates and self.in_time(output)
            self.expect(not in_time, f"I2: {output} at {time_ms} ms was late although within the bound")

    def is_skipped(self, output: str) -> bool:
        """Passed over by an operator: it need not be counted, but may have been before."""
        return output.rsplit(":", 2)[0] in self.skipped

    def in_time(self, output: str) -> bool:
        """Within the bound, and not of a partition that was idle or that nobody knew of."""
        p, o = (int(x) for x in output.split(":")[:2])
        before = [t for i, t in enumerate(self.logs[p][:o]) if i not in self.gaps[p]]
        within = self.logs[p][o] >= max(before, default=self.logs[p][o]) - self.out_of_order_ms
        return within and not (o >= self.idle_from[p] or f"{p}:" in self.unknown_to)

    def check_windows(self) -> None:
        """Nothing came late: the windows are those of one pass over all outputs, in the order of their times."""
        by_key: dict[int, list[tuple[int, str]]] = {}
        for output, time_ms in self.expected.items():
            p, o, n, _ = output.split(":")
            by_key.setdefault(self.keys[f"{p}:{o}"][int(n)], []).append((time_ms, output))
        expected = {
            (key_text(key), *window) for key, mine in by_key.items() for window in one_pass(self.windower, mine)
        }
        found = set()
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
                span = msgspec.json.decode(entry)
                for key, row in self.server.client.hgetall(f"{tag}:w:{field.decode()}").items():
                    ids = frozenset(msgspec.json.decode(row)["ids"])
                    if isinstance(self.windower, CountWindow):
                        found.add((key.decode(), len(ids)))
                    else:
                        found.add((key.decode(), span["start"], span["end"], ids))
        if isinstance(self.windower, CountWindow):
            expected = {(key, size) for key, size in expected}
        self.expect(found == expected, f"I7: not the windows of one pass: {found ^ expected}")

    def check_delivered(self, late: list[str]) -> None:
        """Each final row that the server holds was sent as it is, and each late record."""
        finals: dict[Any, tuple[int, frozenset[str]]] = {}
        for stream, (_, key, *rest) in self.delivered.values():
            if stream == "final":
                start, end, revision, ids, _ = rest
                sent = revision, frozenset(msgspec.json.decode(ids))
                # Of count windows two may begin and end together.
                at: Any = sent[1] if isinstance(self.windower, CountWindow) else (key_text(key), start, end)
                finals[at] = max(sent, finals.get(at, sent), key=_revision)
        for slot in self.slots:
            tag = f"{{{APP}:K:{slot}}}"
            for field, entry in self.server.client.hgetall(f"{tag}:windows").items():
                span = msgspec.json.decode(entry)
                for key, row in self.server.client.hgetall(f"{tag}:w:{field.decode()}").items():
                    ids = frozenset(msgspec.json.decode(row)["ids"])
                    at = ids if isinstance(self.windower, CountWindow) else (key.decode(), span["start"], span["end"])
                    found = finals.get(at, (None, None))[1]
                    told = f"I8: the final row {key!r} of {span} has {ids}, sent was {found}"
                    self.expect(span["state"] == "open" or found == ids, told)
        sent_late = {
            msgspec.json.decode(values[5])["id"] for stream, values in self.delivered.values() if stream == "late"
        }
        self.expect(set(late) <= sent_late, f"I8: late and not sent: {set(late) - sent_late}")


def _revision(sent: tuple[int, frozenset[str]]) -> int:
    return sent[0]
