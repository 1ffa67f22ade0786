"""Produces records to Kafka: idempotent, confirmed by all replicas, on threads of its own.

A topic that does not exist may be created with one partition on first use: dead letters must have a place to go.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RetriableError,
)

from stormline.connectors.kafka import (
    ClientMaker,
    client_settings,
    ensure_topic,
    partition_count,
    reason,
    unreachable,
)
from stormline.core.errors import ServerError
from stormline.core.events import Unsent

DELIVERY_MS = 30_000
CLOSE_S = 5.0
LOOK_AGAIN_S = 0.5
"""Whether a topic has been created."""
NEVER_TAKEN = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError, InvalidTimestampError)
"""The record's own fault: it would be refused each time."""


class _Record(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    done: Callable[[Unsent | None], None]
    suspect: bool = False
    """The broker has refused it, perhaps for the sake of another one."""


class KafkaWriter:
    """A `stormline.components.edges.Writer`. `brokers` is `host:port`, several with commas between.

    Nothing is connected before the first `send`. A record that is not confirmed within 30 s is given up: `done` is told
    the topic and the reason.
    """

    def __init__(self, brokers: str, *, create: bool, post: Callable[[Callable[[], None]], None]) -> None:
        self._brokers = brokers
        self._create = create
        self._post = post
        self._records: queue.SimpleQueue[_Record | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._topics: set[str] = set()
        self._missing: dict[str, float] = {}
        """Topic that does not exist -> when to look again."""
        self._producer: Any = None
        self._spoilt: Any = None
        """A producer that takes nothing any more; set by its own thread."""

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
                self._produce_alone(record) if record.suspect else self._produce(record)
            except (ServerError, KafkaError, ValueError, TypeError) as error:
                self._answer(record, error)
        if self._producer is not None:
            with suppress(KafkaTimeoutError):  # who gets no answer will send it again
                self._producer.close(timeout=CLOSE_S)

    def _produce(self, record: _Record) -> None:
        sent, producer = self._give(record)
        sent.add_callback(lambda _: self._answer(record, None))
        sent.add_errback(lambda error: self._refused(record, producer, error))

    def _give(self, record: _Record) -> tuple[Any, Any]:
        """The answer to come, and the producer that has the record."""
        if record.topic not in self._topics:
            self._find(record.topic)
            self._topics.add(record.topic)
        if self._producer is not None and self._producer is self._spoilt:
            self._producer.close(timeout=0)
            self._producer = None
        if self._producer is None:
            self._producer = self._connected()
        sent = self._producer.send(record.topic, key=record.key, value=record.value, headers=record.headers)
        return sent, self._producer

    def _refused(self, record: _Record, producer: Any, error: Exception) -> None:
        """kafka-python's idempotent producer fails for ever once a broker has refused a record for good, and gives the
        same error to all that it has or gets. So another one is made, and each of them is tried alone."""
        if not isinstance(error, RetriableError | KafkaTimeoutError):
            self._spoilt = producer
        if isinstance(error, NEVER_TAKEN) and not record.suspect:
            self._records.put(record._replace(suspect=True))
        else:
            self._answer(record, error)

    def _produce_alone(self, record: _Record) -> None:
        if self._producer is not None:
            with suppress(KafkaError):  # answered for each record
                self._producer.flush(timeout=DELIVERY_MS / 1000)
        sent, producer = self._give(record)
        try:
            sent.get(timeout=DELIVERY_MS / 1000)
        except KafkaError as error:
            self._refused(record, producer, error)
        else:
            self._answer(record, None)

    def _find(self, topic: str) -> None:
        """Raises ServerError if there is no such topic, and it is not to be created."""
        if self._create:
            ensure_topic(self._brokers, topic, 1)
            return
        if time.monotonic() >= self._missing.get(topic, 0):
            if partition_count(self._brokers, topic) is not None:
                return
            self._missing[topic] = time.monotonic() + LOOK_AGAIN_S
        raise ServerError(
            f"it does not exist on Kafka at {self._brokers}; create it, or have the environment in config.json do so: "
            f'"topics": {{"{topic}": {{"partitions": 1}}}}'
        )

    def _connected(self) -> Any:
        maker = ClientMaker()
        try:
            return KafkaProducer(
                **client_settings(self._brokers),
                kafka_client=maker,
                bootstrap_timeout_ms=10_000,
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                delivery_timeout_ms=DELIVERY_MS,
                max_block_ms=DELIVERY_MS,
                metrics_enabled=False,
            )
        except KafkaTimeoutError as error:
            maker.close()
            raise ServerError(unreachable(self._brokers), retriable=True) from error

    def _answer(self, record: _Record, error: Exception | None) -> None:
        unsent = None
        if error is not None:
            text = str(error) if isinstance(error, ServerError) else reason(error)
            unsent = Unsent(f"topic {record.topic}: {text}", final=isinstance(error, NEVER_TAKEN))
        self._post(lambda: record.done(unsent))
