"""Try a bolt or a topology in a test: the production engine and components, edges made of memory, two clocks.

    driver = Driver(LargePurchases, schema=Purchase, event_time="date")
    driver.send({"date": "1997-01-01", "amount": 4.99, "user_id": 1, "items": 1})
    assert driver.out == []

Event time rides on what is sent; wall time stands still until `advance`. Nothing sleeps, no thread runs, no server is
needed. Not shown by it: serialization between workers, real Kafka and Redis (contract tests hold their stand-ins to the
same rules), synced disks, the order of several machines, and what user functions do with a clock of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, cast

import msgspec
import streamparse

from stormline.components.edges import Edges
from stormline.components.host import Host, Tuple
from stormline.components.hosted import Hosted
from stormline.components.kafka_spout import KafkaSpout
from stormline.components.wiring import BATCH, WiredBoltSpec, stateless_spec
from stormline.connectors.results import Row
from stormline.core.batch import Batch
from stormline.core.record import Record
from stormline.core.status import Status
from stormline.engine.inline import InlineEngine
from stormline.testing.clock import ManualClock
from stormline.testing.log import Log, LogReader, LogWriter, Message
from stormline.testing.store import MemoryStore, TaskStore

INPUT = "input"
BOLT = "bolt"
OUT = "out"


class _Collector(Hosted, streamparse.Bolt):
    """Takes what a stateless bolt sends on."""

    settings: ClassVar[dict[str, Any]] = {}
    taken: list[Any]

    @classmethod
    def spec(cls, inputs: Any) -> WiredBoltSpec:  # type: ignore[override]
        return stateless_spec(cls, inputs, name=None, par=1, config=None)

    def prepare(self, host: Host) -> None:
        self.host = host
        self.taken = host.context.conf["stormline.testing.out"]

    def execute(self, tup: Tuple) -> None:
        self.taken.extend(Batch(*tup.values).records.values)
        self.host.ack(tup)

    def on_time(self, now_ms: int) -> None:
        """Waits for nothing."""

    def status(self) -> Status:
        return Status(settled=True)

    def close(self) -> None:
        """Holds nothing."""


class _Edges:
    def __init__(self, log: Log, store: MemoryStore) -> None:
        self._log, self._store = log, store

    def reader(self, *, group: str, **settings: Any) -> LogReader:
        return LogReader(self._log, **settings)

    def writer(self, *, post: Any) -> LogWriter:
        return LogWriter(self._log, post)

    def store(self, *, app: str, post: Any) -> TaskStore:
        return TaskStore(self._store, post)


class Driver:
    """A running topology, one step at a time.

    `tried`: a `Topology` class, or one bolt class; for a bolt, `schema` (and `event_time`, a field) say what it is fed.
    `seed`: where Storm promises no order, draw one, the same for the same seed. `bounded`: `end()` closes the windows.
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
    ) -> None:
        self.clock = ManualClock()
        self.log = Log()
        self.store = MemoryStore()
        self.out: list[Any] = []
        """Records that the bolt under test has sent on, replays included."""
        self._seed, self._bounded = seed, bounded
        self._topology = (
            tried if issubclass(tried, streamparse.Topology) else _topology_of(tried, schema, event_time, out_of_order)
        )
        for topic in self.topics:
            self.log.create(topic, partitions)
        self._start()

    @property
    def topics(self) -> list[str]:
        """The topics that the topology reads."""
        specs: list[Any] = self._topology.specs  # type: ignore[attr-defined]
        return [spec.component_cls.topic for spec in specs if issubclass(spec.component_cls, KafkaSpout)]

    def _start(self) -> None:
        self._engine = InlineEngine(
            self._topology,
            name="test",
            conf={
                "stormline.app": "test",
                "stormline.run": self.store.run,
                "stormline.bounded": self._bounded,
                "stormline.testing.out": self.out,
            },
            edges=cast(Edges, _Edges(self.log, self.store)),
            clock=self.clock,
            seed=self._seed,
        )
        self._engine.start()
        self.run()

    def send(
        self,
        value: Any,
        *,
        topic: str | None = None,
        partition: int = 0,
        key: bytes | None = None,
        time_ms: int = 0,
        offset: int | None = None,
        run: bool = True,
    ) -> int:
        """Append a record (a Record, a dict, or raw bytes) to a topic, and run; returns its offset.

        `time_ms`: its Kafka timestamp. `run=False` leaves it there until the next `run`.
        """
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        at = self.log.append(
            topic or self.topics[0], partition, key=key, value=raw, timestamp_ms=time_ms, offset=offset
        )
        if run:
            self.run()
        return at

    def run(self, steps: int | None = None) -> int:
        """Do what can be done without time passing, at most so many steps; how many were done."""
        done = 0
        while (steps is None or done < steps) and self._engine.step():
            done += 1
        return done

    def advance(self, duration: str | timedelta) -> None:
        """Let wall time pass in steps of 10 ms, and run: flushes, acks, claims and commits come with it."""
        passed = ManualClock(0)
        passed.advance(duration)
        for _ in range(max(1, passed.now_ms() // 10)):
            self.clock.advance("10ms")
            self.run()

    def end(self) -> None:
        """The bounded input ends here; run until every window is closed. AssertionError if that does not come about."""
        for topic in self.topics:
            partitions = range(len(self.log.topics[topic]))
            self.store.ends[topic] = {number: self.log.end(topic, number) for number in partitions}
        for _ in range(600):
            self.advance("100ms")
            if self.settled:
                return
        raise AssertionError(f"it does not come to its end: {self.status()}")

    def crash(self) -> None:
        """The process dies: all memory is lost, nothing is closed; a new one starts from what is committed."""
        self._engine.crash()
        self.log.disconnect_all()
        self.store.run += 1
        self._start()

    def restart_redis(self) -> None:
        """Redis is restarted with its data."""
        self.store.restart()

    def lose_next_flush(self) -> None:
        """The next flush of a slot never arrives."""
        self.store.faults.append("lost")

    def lose_next_reply(self) -> None:
        """The next flush of a slot is applied, its answer is lost."""
        self.store.faults.append("unanswered")

    def results(self, component: str = BOLT) -> list[Row]:
        """What is in the store, as `sparse results` would show it."""
        return list(self.store.rows(component))

    def late(self, component: str = BOLT) -> list[dict[str, Any]]:
        """The late records of a component, as they are kept."""
        return self.store.late(component)

    def dead_letters(self, topic: str | None = None) -> list[Message]:
        """What is in the dead-letter topic of a topic."""
        partitions = self.log.topics.get(f"{topic or self.topics[0]}.dead", [])
        return [message for partition in partitions for message in partition]

    @property
    def committed(self) -> dict[str, int]:
        """`topic/partition` -> the offset that is committed."""
        return dict(self.log.committed)

    @property
    def settled(self) -> bool:
        """All is processed, acked, committed, and every window is closed."""
        return self._engine.settled()

    def status(self) -> dict[str, list[Status]]:
        """What each task says of itself, by component."""
        return self._engine.status()


def _topology_of(bolt: Any, schema: type[Record] | None, event_time: str | None, out_of_order: str) -> type:
    """A spout on the topic `input`, the bolt, and behind a stateless bolt a collector."""
    if schema is None:
        raise TypeError(f"say what {bolt.__name__} is fed: Driver({bolt.__name__}, schema=...)")
    settings = {"topic": INPUT, "schema": schema, "event_time": event_time, "out_of_order": out_of_order}
    if event_time is None:
        del settings["event_time"]
    spout: Any = type("Input", (KafkaSpout,), settings)
    members: dict[str, Any] = {INPUT: spout.spec()}
    members[BOLT] = bolt.spec(inputs=[members[INPUT]])
    if BATCH in members[BOLT].outputs:
        members[OUT] = _Collector.spec([members[BOLT]])
    make: Callable[..., type] = type(streamparse.Topology)
    return make("Tried", (streamparse.Topology,), members)
