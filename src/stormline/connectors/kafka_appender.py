"""Appends batches to the partitions of one topic, each exactly once and at the offset where it belongs.

kafka-python's producer spends about ten times as long on a record as it takes to write it into a batch, because it
makes a future of each. A feed needs an answer for each batch only. The rules are those of the idempotent producer
(KIP-98): a producer id from the broker, a sequence number for each partition, one request in flight for each partition,
and the same bytes again until an answer comes, so that the broker knows a batch it already has.

Apache Kafka forgets a producer a day after the timestamps of its records, which for historic ones is at its next start.
So before a batch is sent again, the log is asked whether it is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    Cancelled,
    DuplicateSequenceNumberError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    NoError,
    RetriableError,
    for_code,
)
from kafka.net import KafkaConnectionManager, NetworkSelector
from kafka.protocol.consumer import ListOffsetsRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import client_settings
from stormline.connectors.kafka_clients import reason, unreachable
from stormline.connectors.kafka_records import encode_batch
from stormline.core.errors import ServerError

RETRY_S = 0.1
REQUEST_MS = 10_000


class Appender:
    """`ends`: partition -> its log end; nobody else may write to these partitions. `header` names the one header of
    each record. All methods are for one thread; they raise ServerError, after which there is only `close`.
    """

    def __init__(self, brokers: Brokers, topic: str, ends: Mapping[int, int], *, header: bytes) -> None:
        self._brokers = brokers
        self._topic = topic
        self._header = header
        self.ends = dict(ends)
        """Partition -> log end once all that was appended is confirmed."""
        self._sequences = dict.fromkeys(ends, 0)
        self._pending: dict[int, Any] = {}
        self._closed = False
        self._net = NetworkSelector(client_id="stormline-feed")
        self._manager = KafkaConnectionManager(self._net, **client_settings(brokers))
        self._manager.cluster.config["allow_auto_create_topics"] = False
        self._net.start()
        deadline = time.monotonic() + REQUEST_MS / 1000
        try:
            self._manager.bootstrap(REQUEST_MS)
            self._wait(self._manager.cluster.set_topics([topic]), REQUEST_MS)
            self._producer_id, self._producer_epoch = self._manager.run(self._new_producer, deadline)
        except KafkaError as error:
            self.close()
            raise self._failure(error) from error

    def append(self, partition: int, records: Sequence[tuple[int, bytes | None, bytes, bytes]]) -> None:
        """Records: (timestamp in ms, key, value, header value). Returns once the batch before it is confirmed."""
        batch = encode_batch(
            records,
            header=self._header,
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=self._sequences[partition],
        )
        self._confirm(partition)
        self._pending[partition] = self._manager.call_soon(
            self._produce, partition, batch, self.ends[partition], len(records)
        )
        self._sequences[partition] = (self._sequences[partition] + len(records)) & 0x7FFFFFFF
        self.ends[partition] += len(records)

    def finish(self) -> None:
        """Wait until all is confirmed."""
        for partition in list(self._pending):
            self._confirm(partition)

    def close(self) -> None:
        """Stop; what is not confirmed may or may not be in the log."""
        self._closed = True
        self._manager.close()
        self._net.close()

    def _confirm(self, partition: int) -> None:
        if (pending := self._pending.pop(partition, None)) is not None:
            try:
                self._wait(pending, None)
            except KafkaError as error:
                raise self._failure(error) from error

    def _wait(self, future: Any, timeout_ms: int | None) -> None:
        self._manager.run(self._manager.wait_for, future, timeout_ms)

    def _failure(self, error: KafkaError) -> ServerError:
        if isinstance(error, KafkaTimeoutError):
            return ServerError(f"topic {self._topic}: {unreachable(self._brokers)}", retriable=True)
        return ServerError(
            f"topic {self._topic}: Kafka at {self._brokers} did not take a batch: {reason(error)}",
            retriable=isinstance(error, RetriableError),
        )

    # On kafka-python's thread.

    async def _new_producer(self, deadline: float) -> tuple[int, int]:
        """A broker that has just started, or elects, has none to give for some seconds."""
        request = InitProducerIdRequest(
            transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
        )
        while True:
            response = await self._manager.send(request)
            error = for_code(response.error_code)
            if error is NoError:
                return response.producer_id, response.producer_epoch
            if not issubclass(error, RetriableError) or time.monotonic() > deadline:
                raise error()
            await self._net.sleep(RETRY_S)

    async def _produce(self, partition: int, batch: bytes, expected: int, count: int) -> None:
        """Send the batch until the broker has it."""
        is_sent = False
        while not self._closed:
            try:
                if is_sent and await self._log_end(partition) == expected + count:
                    return
                is_sent = True
                offset = await self._send(partition, batch)
            except RetriableError:
                with suppress(RetriableError):
                    await self._manager.wait_for(self._manager.cluster.request_update(), REQUEST_MS)
                await self._net.sleep(RETRY_S)
                continue
            if offset not in (expected, None):
                raise KafkaError(
                    f"a batch came to offset {offset} of partition {partition} where {expected} was next: someone else "
                    "writes to this topic. Delete it, or take another one, and let one program feed it"
                )
            return
        raise Cancelled("closed before all was confirmed")

    async def _send(self, partition: int, batch: bytes) -> int | None:
        """The offset of the first record; None if the broker had the batch already and does not know where."""
        topic_data = ProduceRequest.TopicProduceData
        data = topic_data(
            name=self._topic,
            partition_data=[topic_data.PartitionProduceData(index=partition, records=batch)],
        )
        request = ProduceRequest(
            transactional_id=None, acks=-1, timeout_ms=REQUEST_MS, topic_data=[data], min_version=3, max_version=9
        )
        response = await self._ask_leader(partition, request)
        answer = response.responses[0].partition_responses[0]
        error = for_code(answer.error_code)
        if error is DuplicateSequenceNumberError:
            return None
        if error is not NoError:
            raise error(answer.error_message or f"partition {partition}")
        return int(answer.base_offset)

    async def _log_end(self, partition: int) -> int:
        """A leader that has just begun answers only once it knows where the one before it has ended (KIP-207)."""
        topic = ListOffsetsRequest.ListOffsetsTopic
        row = topic.ListOffsetsPartition(partition_index=partition, timestamp=OffsetSpec.LATEST)
        request = ListOffsetsRequest(topics=[topic(name=self._topic, partitions=[row])], min_version=2, max_version=7)
        response = await self._ask_leader(partition, request)
        answer = response.topics[0].partitions[0]
        error = for_code(answer.error_code)
        if error is not NoError:
            raise error(f"partition {partition}")
        return int(answer.offset)

    async def _ask_leader(self, partition: int, request: Any) -> Any:
        leader = self._manager.cluster.leader_for_partition(TopicPartition(self._topic, partition))
        if leader in (None, -1):
            raise LeaderNotAvailableError(f"{self._topic}/{partition}")
        return await self._manager.send(request, node_id=leader, request_timeout_ms=REQUEST_MS)
