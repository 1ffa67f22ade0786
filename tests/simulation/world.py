"""One random history of the protocol: the real core and the real scripts in a real server, everything else made up.

A step is one atomic action of one process or the delivery of one message, drawn at random: emits, flushes, acks,
progress, commits, time-outs; crashes, zombies (processes taken for dead that go on), replaced topologies with another
number of tasks, restarts of the server, lost tuples, lost replies, flushes that arrive when nobody waits for them.
The clock is the number of the step. One seed is one history.

The topology: a spout S, a stateless step M that turns a record into 0 to 3 outputs and cuts its tuples where it likes
(on a diamond, two lanes), and a keyed bolt K that collects the identities of what it counted, so that the windows in
the server say of each output how often it was counted. Not in here: several spouts, real time.
"""

from __future__ import annotations

from random import Random
from typing import Any

from simulation.invariants import Invariants, Violation
from simulation.outputs import Identities, Output, Outputs
from simulation.server import APP, Server
from simulation.spout import Spout
from simulation.stateless import Stateless
from simulation.storm import Ack, Storm
from simulation.task import Task
from simulation.topic import Topic

from stormline.core.aggregate import Aggregation
from stormline.core.pending import Limits
from stormline.core.requests import Flush, Reply
from stormline.core.table import Rules
from stormline.core.window import CountWindow, Tumbling, count_window, session, sliding

SIZE_MS, STEP_MS = 10, 50
WINDOWS = (Tumbling(SIZE_MS), sliding("10ms", "2ms"), sliding("9ms", "6ms"), session("4ms"), count_window(3))


class World:
    """All processes, messages and faults of one history."""

    def __init__(self, seed: int, server: Server) -> None:
        self.random = random = Random(seed)
        drawn = Random(f"window of {seed}")
        self.aside = Random(f"operator of {seed}")
        self.windower: Any = drawn.choice(WINDOWS) if drawn.random() < 0.6 else WINDOWS[0]
        self.server = server
        server.client.flushall()
        server.client.set(f"{{{APP}}}:run", 0)
        self.now_ms = self.run = 0
        lanes = ("a", "b") if random.random() < 0.4 else ("m",)
        partitions = random.randint(1, 3)
        out_of_order_ms, lateness_ms = random.choice([0, 5, 12]), random.choice([0, 0, 7])
        idle_after_ms = 200 if random.random() < 0.25 else None
        self.limits = Limits(out_of_order_ms, random.randint(6, 30), random.randint(4, 20), idle_after_ms)
        self.rules = Rules("K", (self.windower,), Aggregation({"ids": Identities()}, Output), lateness_ms)
        self.rules = self.rules._replace(streams=frozenset({"final", "late"}))
        self.topic = Topic(random, partitions, out_of_order_ms)
        self.outputs = Outputs(self.topic, lanes)
        self.invariants = Invariants(server, self.windower, self.topic, self.outputs, out_of_order_ms)
        self.storm = Storm()
        self.ghosts: list[Flush] = []
        self.zombies: list[Spout | Task] = []
        self.draining = False
        self.submit()

    # the topology

    def submit(self) -> None:
        self.run += 1
        self.storm.forget()
        self.spouts, self.tasks = self.random.randint(1, 2), self.random.randint(1, 3)
        self.stateless = Stateless(self)
        self.spout_tasks = [Spout(self, i) for i in range(self.spouts)]
        self.keyed_tasks = [Task(self, i) for i in range(self.tasks)]

    def send(self, to: str, index: int, values: Any, roots: set[int], run: int) -> None:
        self.storm.send(roots, lambda tup: self.receive(to, index, values, roots, tup, run))

    def receive(self, to: str, index: int, values: Any, roots: set[int], tup: int, run: int) -> None:
        if run != self.run:
            return
        if to == "M":
            self.stateless.take(values, roots, tup)
            return
        if to == "D":
            if self.draining or self.random.random() > 0.1:
                self.invariants.deliver(*values)
                self.storm.ack(roots, tup)
            return
        zombies = [z for z in self.zombies if isinstance(z, Task) and z.alive and z.run == run and z.index == index]
        task = self.random.choice(zombies) if zombies and self.random.random() < 0.3 else self.keyed_tasks[index]
        if task.alive:
            task.take(values, roots, tup)

    # the outside world

    def commit(self, frontiers: dict[str, int]) -> None:
        for partition, offset in frontiers.items():
            self.invariants.check_durable(partition, offset, "a commit")
            self.topic.committed[int(partition[2:])] = offset

    def apply(self, flush: Flush) -> Reply:
        before = self.invariants.windows(flush.slot)
        answer = self.server.ask(flush)
        self.invariants.flushed(flush.slot, before)
        return answer

    # time

    def step(self) -> None:
        random, x = self.random, self.random.random()
        self.now_ms += STEP_MS
        spouts = [s for s in [*self.spout_tasks, *self.zombies] if isinstance(s, Spout) and s.alive]
        tasks = [t for t in [*self.keyed_tasks, *self.zombies] if isinstance(t, Task) and t.alive]
        if x < 0.42 and self.storm.net:
            self.storm.net.pop(random.randrange(len(self.storm.net)))()
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
        elif x < 0.89 and self.storm.roots:
            self.storm.fail({random.choice(sorted(self.storm.roots))})
        elif x < 0.92 and self.ghosts:
            self.apply(self.ghosts.pop(random.randrange(len(self.ghosts))))
        elif x < 0.96:
            p = random.randrange(len(self.topic.logs))
            self.topic.produced[p] = min(len(self.topic.logs[p]), self.topic.produced[p] + 1)
        elif x < 0.97:
            self.topic.known = len(self.topic.logs) if random.random() < 0.3 else self.topic.known
            if spouts:
                self.add_partitions(random.choice(spouts))
        elif random.random() < 0.5:
            self.fault()
        if spouts and self.aside.random() < 0.0007:
            self.aside.choice(spouts).skip()
        self.revive()

    def add_partitions(self, spout: Spout) -> None:
        if len(spout.source.partitions) < sum(p % self.spouts == spout.index for p in range(self.topic.known)):
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
        elif self.storm.net:
            message = self.storm.net.pop(random.randrange(len(self.storm.net)))
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
        self.topic.complete()
        for spout in self.spout_tasks:
            self.add_partitions(spout)
        for round_ in range(150):
            if self.drain(round_):
                break
        else:
            raise Violation(f"I6: it does not come to its end: {len(self.storm.roots)} tuples wait")
        self.invariants.check()

    def drain(self, round_: int) -> bool:
        self.now_ms += 500
        for spout in self.spout_tasks:
            for _ in range(8):
                spout.fetch()
                spout.emit()
            spout.source.bound(self.topic.ends)
        while self.storm.net:
            self.storm.net.pop(self.random.randrange(len(self.storm.net)))()
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
            self.storm.fail(set(self.storm.roots))
        entries = [entry for slot in self.invariants.slots for entry, _ in self.invariants.windows(slot).values()]
        ended = all(spout.source.ended or not spout.source.partitions for spout in self.spout_tasks)
        closed = isinstance(self.windower, CountWindow) or all(entry["state"] == "final" for entry in entries)
        sent = not any(self.server.client.hlen(f"{{{APP}:K:{slot}}}:outputs") for slot in self.invariants.slots)
        return ended and closed and sent and not self.invariants.in_panes()
