"""Try a bolt or a topology in a test: the production engine and components, edges made of memory, two clocks.

    tried = Driver(LargePurchases, schema=Purchase, event_time="date")
    tried.send({"date": "1997-01-01", "amount": 4.99, "user_id": 1, "items": 1})
    assert tried.out == []

Event time rides on what is sent; wall time stands still until `advance`. Nothing sleeps, no thread runs, no server is
needed. Faults are input: `crash`, `kill`, `stop_redis`, `lose_next_flush` and the others below.

Not shown by it: serialization between workers, the restart of a worker process, real Kafka and Redis (contract tests
hold their stand-ins to the same rules), disks that sync or do not, several machines and their order, and what user
functions do with a clock or chance of their own (see `assert_deterministic`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, cast

import msgspec
import streamparse

from stormline.components.chaining import told_apart
from stormline.components.decoding import time_ms as to_ms
from stormline.components.edges import Edges
from stormline.components.graph import reads_results, slots
from stormline.components.kafka_sink import KafkaSink
from stormline.components.kafka_spout import KafkaSpout
from stormline.components.keyed_bolt import KeyedBolt
from stormline.components.keys import SLOTS_KEY
from stormline.connectors.results import LateRecord, Row
from stormline.core.duration import duration_ms
from stormline.core.events import Unsent
from stormline.core.record import Record
from stormline.core.slot import key_text
from stormline.core.status import Status
from stormline.core.topics import named
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology
from stormline.engine.worker import Worker
from stormline.testing.clock import ManualClock
from stormline.testing.edges import MemoryEdges
from stormline.testing.log import DeadLetter, Log, Message
from stormline.testing.single import TAKEN, topology_of
from stormline.testing.store import MemoryStore

ENDS_WITHIN_MS = 60_000


class Driver:
    """A running topology, one step at a time.

    `tried`: a `Topology` class, or one bolt class; for a bolt, `schema` (and `event_time`, a field) say what it is fed,
    on the topic `input`. `partitions`: of each topic. `seed`: where Storm promises no order, draw one, the same for the
    same seed. `bounded`: the input has an end, which `end()` names; idle time-outs are off then, as in every such run.
    `topics`: those that a spout with a pattern finds at the start.

    Names of topics and components may be left out where there is only one, or one that has results.
    """

    def __init__(
        self,
        tried: type,
        *,
        schema: type[Record] | None = None,
        event_time: str | None = None,
        out_of_order: str = "0s",
        partitions: int = 1,
        seed: int | None = None,
        bounded: bool = True,
        topics: Sequence[str] = (),
    ) -> None:
        self.clock = ManualClock()
        self.log = Log()
        self.store = MemoryStore()
        self.out: list[Any] = []
        """What the bolt under test has sent on, replays included: the records of a stateless bolt; of a keyed one each
        tuple, as `Sent`."""
        self._seed, self._bounded = seed, bounded
        whole = issubclass(tried, streamparse.Topology)
        self._topology = tried if whole else topology_of(tried, schema, event_time, out_of_order)
        specs: list[Any] = self._topology.specs  # type: ignore[attr-defined]
        read = [s.component_cls.topic for s in specs if issubclass(s.component_cls, KafkaSpout)]
        self.topics: list[str] = [*dict.fromkeys(name for each in read for name in named(each)), *topics]
        """The topics that the topology reads."""
        sinks = [s.component_cls.topic for s in specs if issubclass(s.component_cls, KafkaSink)]
        for topic in self.topics + sinks:
            self.log.create(topic, partitions)
        self._start()

    @property
    def keyed(self) -> list[str]:
        """The components that have results."""
        specs: list[Any] = self._topology.specs  # type: ignore[attr-defined]
        return [spec.name for spec in specs if issubclass(spec.component_cls, KeyedBolt)]

    def _start(self) -> None:
        conf = {
            "stormline.app": "test",
            "stormline.run": self.store.begin_run(),
            "stormline.bounded": self._bounded,
            "stormline.tracked": reads_results(self._topology),
            SLOTS_KEY: slots(self._topology),
            TAKEN: self.out,
        }
        self._engine = Worker(
            Deployment(read_topology(self._topology), name="test", conf=conf),
            edges=cast(Edges, MemoryEdges(self.log, self.store)),
            clock=self.clock,
            seed=self._seed,
        )
        self._engine.start()
        self.run()

    # Input and time

    def send(
        self,
        value: Any,
        *,
        topic: str | None = None,
        partition: int = 0,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        time_ms: int = 0,
        offset: int | None = None,
        run: bool = True,
    ) -> int:
        """Append a record (a Record, a dict, raw bytes, or None: a tombstone) to a topic, and run; returns its offset.

        `time_ms`: its Kafka timestamp. `offset` above the log's end leaves a gap, as compaction does. `run=False`
        leaves the record there until the next `run`, so that several make one batch.
        """
        topic = _one_of(self.topics, topic, "topic")
        if not 0 <= partition < len(self.log.topics[topic]):
            raise ValueError(f"{topic} has no partition {partition}: Driver(..., partitions={partition + 1})")
        if topic in self.store.ends:
            raise ValueError("the input has ended; a crash() begins the next run")
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        at = self.log.append(topic, partition, key=key, value=raw, timestamp_ms=time_ms, headers=headers, offset=offset)
        if run:
            self.run()
        return at

    def run(self, steps: int | None = None) -> int:
        """Do what can be done without time passing, at most so many steps of the engine; how many were done."""
        done = 0
        while (steps is None or done < steps) and self._engine.step():
            done += 1
        return done

    def create_topic(self, topic: str, partitions: int) -> None:
        """While it runs: a topic that a pattern may find, or further partitions of one."""
        self.log.create(topic, partitions)
        if topic not in self.topics:
            self.topics.append(topic)
        self.run()

    def advance(self, duration: str | timedelta) -> None:
        """Let wall time pass from one timer to the next: flushes, acks, claims and commits come with it."""
        end_ms = self.clock.now_ms() + duration_ms(duration)
        self.run()
        while (due_ms := self._engine.due_ms()) is not None and due_ms <= end_ms:
            self.clock.advance_to(due_ms)
            self.run()
        self.clock.advance_to(end_ms)
        self.run()

    def end(self) -> None:
        """The bounded input ends here; time passes until every window is closed and all is committed.

        Raises:
            AssertionError: that does not come about within a minute of the test's time.
        """
        if not self._bounded:
            raise ValueError("bounded=False says that the input has no end; let time pass with advance()")
        for topic in self.topics:
            partitions = range(len(self.log.topics[topic]))
            self.store.ends[topic] = {number: self.log.end(topic, number) for number in partitions}
        end_ms = self.clock.now_ms() + ENDS_WITHIN_MS
        while not self.settled:
            if self.clock.now_ms() >= end_ms:
                raise AssertionError(f"it does not come to its end: {self.status()}")
            self.advance("100ms")

    # Faults

    def crash(self) -> None:
        """The process dies: all memory is lost, nothing is closed; a new one starts from what is committed."""
        self._engine.crash()
        self.log.disconnect_all()
        self.store.ends.clear()
        self._start()

    def submit(self, topology: type[streamparse.Topology]) -> None:
        """Another version of the topology takes over on the same servers, as after a kill: with other tasks, say."""
        self._topology = topology
        self.crash()

    def kill(self, component: str, task: int = 0) -> None:
        """One task of a component (0 is the first) dies: its memory is lost, what it held fails, it is made anew. A
        chained component has no task of its own."""
        deployment = self._engine.deployment
        self._engine.kill_task(deployment.tasks[_one_of(list(deployment.specs), component, "component")][task])
        self.run()

    def lose_next_flush(self) -> None:
        """The next flush of a slot never arrives, and is not answered."""
        self.store.faults.append("lost")

    def lose_next_reply(self) -> None:
        """The next flush of a slot is applied, its answer is lost."""
        self.store.faults.append("unanswered")

    def stop_redis(self) -> None:
        """Redis answers nothing until `restart_redis`."""
        self.store.down = True

    def restart_redis(self) -> None:
        """Redis is restarted with its data."""
        self.store.restart()

    def lose_redis_data(self) -> None:
        """Redis is restarted without its data."""
        self.store.lose_data()

    def refuse_next_write(self, reason: str = "the broker is full") -> None:
        """The next message of a component to Kafka, a dead letter or a sink's, is not taken."""
        self.log.refusals.append(Unsent(reason))

    # What came of it

    def results(self, component: str | None = None) -> list[Row]:
        """What is in the store, as `sparse results` would show it: by start of the window, then by key."""
        return self.store.rows(_one_of(self.keyed, component, "component with results"))

    def result(self, key: Any, start: date | datetime | int, component: str | None = None) -> Row | None:
        """The result of one key (None for a bolt without) in the window that starts then (ms, date or datetime)."""
        wanted = (to_ms(start), key_text(key))
        return next((row for row in self.results(component) if wanted == (row.start_ms, key_text(row.key))), None)

    def late(self, component: str | None = None) -> list[LateRecord]:
        """The late records of a component that are kept, by event time."""
        return self.store.late(_one_of(self.keyed, component, "component with results"))[1]

    def messages(self, topic: str) -> list[Message]:
        """What is in a topic, one partition after the other; of a sink's, for example."""
        partitions = self.log.topics[_one_of(list(self.log.topics), topic, "topic")]
        return [message for partition in partitions for message in partition]

    def dead_letters(self, topic: str | None = None) -> list[DeadLetter]:
        """What is in the dead-letter topic of a topic, or of a component: what came from no topic."""
        if topic not in self.status():
            topic = _one_of(self.topics, topic, "topic")
        dead = f"{topic}.dead"
        return [DeadLetter.of(message) for message in self.messages(dead)] if dead in self.log.topics else []

    @property
    def acked(self) -> int:
        """Records that are done with since the start or the last crash; broken ones are not among them."""
        return sum(task.acked for tasks in self.status().values() for task in tasks)

    @property
    def failed(self) -> int:
        """Tuples of the spouts that failed or timed out since the start or the last crash."""
        return sum(task.failed for tasks in self.status().values() for task in tasks)

    @property
    def committed(self) -> dict[str, int]:
        """`topic/partition` -> the offset that is committed."""
        return dict(self.log.committed)

    @property
    def settled(self) -> bool:
        """All is processed, acked, committed, and every window is closed."""
        return self._engine.settled()

    def status(self) -> dict[str, list[Status]]:
        """What each task says of itself, by component; a chained one says it in the tasks above it."""
        return told_apart(self._engine.status(), self._topology)


def _one_of(names: list[str], name: str | None, what: str) -> str:
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise ValueError(f"name a {what}: {', '.join(names) or 'there is none'}" + (f", not {name}" if name else ""))
    return name
