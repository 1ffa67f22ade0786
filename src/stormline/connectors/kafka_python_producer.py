"""The producer by kafka-python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

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

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import ClientMaker, client_settings
from stormline.connectors.kafka_clients import KafkaFault, Unsendable, reason, unreachable
from stormline.core.errors import ServerError

UNSENDABLE = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError, InvalidTimestampError)
CONNECT_MS = 10_000


class KafkaPythonProducer:
    """A `stormline.connectors.kafka_clients.Producer`.

    kafka-python's idempotent producer fails for ever once a broker has refused a record for good, and gives the same
    error to all that it has or gets. Then the next record gets another one.
    """

    def __init__(self, brokers: Brokers, *, delivery_ms: int) -> None:
        self._brokers = brokers
        self._delivery_ms = delivery_ms
        self._spoilt: Any = None
        """A producer that takes nothing any more; set by its own thread."""
        self._producer: Any = self._connected()

    def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        done: Callable[[KafkaFault | None], None],
    ) -> None:
        if self._producer is self._spoilt:
            self._spoilt.close(timeout=0)
            self._producer = self._connected()
        producer = self._producer

        def refused(error: Exception) -> None:
            if not isinstance(error, RetriableError):
                self._spoilt = producer
            done(_fault(error))

        try:
            sent = producer.send(topic, key=key, value=value, headers=list(headers))
        except KafkaError as error:
            raise _fault(error) from error
        sent.add_callback(lambda _: done(None))
        sent.add_errback(refused)

    def flush(self, timeout_s: float) -> None:
        with suppress(KafkaError):  # answered for each record
            self._producer.flush(timeout=timeout_s)

    def close(self, timeout_s: float) -> None:
        with suppress(KafkaTimeoutError):
            self._producer.close(timeout=timeout_s)

    def _connected(self) -> Any:
        maker = ClientMaker()
        try:
            return KafkaProducer(
                **client_settings(self._brokers),
                kafka_client=maker,
                bootstrap_timeout_ms=CONNECT_MS,
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                delivery_timeout_ms=self._delivery_ms,
                max_block_ms=self._delivery_ms,
                metrics_enabled=False,
            )
        except KafkaTimeoutError as error:
            maker.close()
            raise ServerError(unreachable(self._brokers), retriable=True) from error


def _fault(error: Exception) -> KafkaFault:
    if isinstance(error, UNSENDABLE):
        return Unsendable(reason(error))
    return KafkaFault(reason(error), retriable=isinstance(error, RetriableError))
