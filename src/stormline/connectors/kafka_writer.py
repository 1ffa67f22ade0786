"""Produces records to Kafka: idempotent, confirmed by all replicas, on threads of its own.

A topic that does not exist may be created with one partition on first use: dead letters must have a place to go.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import absent, ensure_topic, partition_count
from stormline.connectors.kafka_clients import KafkaFault, Producer, Unsendable, producer, reason
from stormline.core.errors import ServerError
from stormline.core.events import Unsent

DELIVERY_MS = 30_000
CLOSE_S = 5.0
LOOK_AGAIN_S = 0.5
"""Whether a topic has been created."""


class _Record(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    done: Callable[[Unsent | None], None]
    suspect: bool = False
    """The broker has refused it, perhaps for the sake of another one."""


class KafkaWriter:
    """A `stormline.components.edges.Writer`.

    Nothing is connected before the first `send`. A record that is not confirmed within 30 s is given up: `done` is told
    the topic and the reason.
    """

    def __init__(self, brokers: Brokers, *, create: bool, post: Callable[[Callable[[], None]], None]) -> None:
        self._brokers = brokers
        self._create = create
        self._post = post
        self._records: queue.SimpleQueue[_Record | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._topics: set[str] = set()
        self._missing: dict[str, float] = {}
        """Topic that does not exist -> when to look again."""
        self._producer: Producer | None = None

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[Unsent | None], None],
    ) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka-writer", daemon=True)
            self._thread.start()
        self._records.put(_Record(topic, key, value, list(headers), done))

    def close(self) -> None:
        """Waits until what was sent is confirmed, for at most a few seconds."""
        if self._thread is not None:
            self._records.put(None)
            self._thread.join(CLOSE_S + 1)
            self._thread = None

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            try:
                self._produce_alone(record) if record.suspect else self._produce(record, self._answered)
            except (ServerError, KafkaFault, ValueError, TypeError) as error:
                self._answer(record, error)
        if self._producer is not None:
            self._producer.close(CLOSE_S)  # who gets no answer will send it again

    def _produce(self, record: _Record, answered: Callable[[_Record, KafkaFault | None], None]) -> None:
        if record.topic not in self._topics:
            self._find(record.topic)
            self._topics.add(record.topic)
        if self._producer is None:
            self._producer = producer(self._brokers, delivery_ms=DELIVERY_MS)
        self._producer.send(
            record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            done=partial(answered, record),
        )

    def _answered(self, record: _Record, fault: KafkaFault | None) -> None:
        """A broker refuses a batch for the sake of one record in it. So each of them is tried alone."""
        if isinstance(fault, Unsendable) and not record.suspect:
            self._records.put(record._replace(suspect=True))
        else:
            self._answer(record, fault)

    def _produce_alone(self, record: _Record) -> None:
        if self._producer is not None:
            self._producer.flush(DELIVERY_MS / 1000)
        done = threading.Event()

        def answered(record: _Record, fault: KafkaFault | None) -> None:
            self._answered(record, fault)
            done.set()

        self._produce(record, answered)
        done.wait(2 * DELIVERY_MS / 1000)

    def _find(self, topic: str) -> None:
        """Raises ServerError if there is no such topic, and it is not to be created."""
        if self._create:
            ensure_topic(self._brokers, topic, 1)
            return
        if time.monotonic() >= self._missing.get(topic, 0):
            if partition_count(self._brokers, topic) is not None:
                return
            self._missing[topic] = time.monotonic() + LOOK_AGAIN_S
        raise ServerError(f"it {absent(self._brokers, topic)}")

    def _answer(self, record: _Record, error: Exception | None) -> None:
        unsent = None
        if error is not None:
            text = str(error) if isinstance(error, ServerError | KafkaFault) else reason(error)
            unsent = Unsent(f"topic {record.topic}: {text}", final=isinstance(error, Unsendable))
        self._post(lambda: record.done(unsent))
