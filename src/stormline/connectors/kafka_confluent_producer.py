"""The producer by confluent-kafka (librdkafka)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from stormline.connectors.brokers import Brokers
from stormline.connectors.confluent import confluent_settings, fault_of
from stormline.connectors.kafka_clients import KafkaFault, Unsendable

UNSENDABLE: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
}
ROOM_S: Final = 0.05
"""So often a full queue of librdkafka's is tried again."""


class ConfluentProducer:
    """A `stormline.connectors.kafka_clients.Producer`. A thread of its own hears librdkafka's answers."""

    def __init__(self, brokers: Brokers, *, delivery_ms: int) -> None:
        self._producer: Any = Producer(
            {
                **confluent_settings(brokers),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "delivery.timeout.ms": delivery_ms,
            }
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="kafka-producer", daemon=True)
        self._thread.start()

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[KafkaFault | None], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    key=key,
                    value=value,
                    headers=list(headers),
                    on_delivery=lambda error, _: done(None if error is None else _fault_of(error)),
                )
            except BufferError:
                self._closed.wait(ROOM_S)
            except KafkaException as error:
                raise _fault_of(error.args[0]) from error
            else:
                return

    def flush(self, timeout_s: float) -> None:
        self._producer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        self._producer.flush(timeout_s)
        self._closed.set()
        self._thread.join()
        self._producer.purge()

    def _hear(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)


def _fault_of(error: Any) -> KafkaFault:
    return Unsendable(f"{error.name()}: {error.str()}") if error.code() in UNSENDABLE else fault_of(error)
