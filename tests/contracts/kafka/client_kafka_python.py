"""The contracts' face of kafka-python."""

from collections.abc import Sequence
from typing import Any, Unpack

from tests.contracts.kafka.kafka_clients import Got, How, Sent, isolation
from tests.contracts.kafka.kafka_member import WAIT_S, Member, until_enough


def quick(**settings: Any) -> Any:
    """A client that asks for metadata as soon as it needs them: the first ones would come 100 ms later."""
    from kafka.net import KafkaNetClient

    client = KafkaNetClient(**settings)
    client.cluster.config["retry_backoff_ms"] = 10
    return client


class KafkaPython:
    """The contracts' face of kafka-python."""

    def __init__(self, bootstrap: str) -> None:
        self._servers = bootstrap

    def _consumer(self, **settings: Any) -> Any:
        from kafka import KafkaConsumer

        return KafkaConsumer(
            bootstrap_servers=self._servers,
            enable_auto_commit=False,
            retry_backoff_ms=10,
            kafka_client=quick,
            **settings,
        )

    def send(self, topic: str, records: Sequence[Sent], **how: Unpack[How]) -> list[int]:
        from kafka import KafkaProducer

        codec, acks = how.get("codec", "none"), how.get("acks", -1)
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            acks="all" if acks == -1 else acks,
            enable_idempotence=how.get("is_idempotent", False),
            compression_type=None if codec == "none" else codec,
            retry_backoff_ms=10,
            max_request_size=4 << 20,
            linger_ms=5,
            kafka_client=quick,
        )
        futures = [
            producer.send(
                topic, row.value, row.key, list(row.headers), partition=row.partition, timestamp_ms=row.timestamp
            )
            for row in records
        ]
        try:
            return [future.get(WAIT_S).offset for future in futures]
        finally:
            producer.close(timeout=WAIT_S)

    def read(
        self,
        topic: str,
        count: int,
        *,
        start: int | None = 0,
        partition: int = 0,
        reset: str = "none",
        committed_only: bool = False,
    ) -> list[Got]:
        from kafka import TopicPartition

        consumer = self._consumer(auto_offset_reset=reset, isolation_level=isolation(committed_only))
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        if start is not None:
            consumer.seek(place, start)
        try:
            rows = until_enough(lambda: consumer.poll(200).get(place, []), count)
        finally:
            consumer.close()
        return [Got(row.offset, row.value, row.key, row.timestamp, tuple(row.headers)) for row in rows]

    def transact(self, topic: str, values: Sequence[bytes], name: str, *, commit: bool) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(
            bootstrap_servers=self._servers, transactional_id=name, retry_backoff_ms=10, kafka_client=quick
        )
        try:
            producer.init_transactions()
            producer.begin_transaction()
            for value in values:
                producer.send(topic, value, partition=0)
            producer.flush(WAIT_S)
            (producer.commit_transaction if commit else producer.abort_transaction)()
        finally:
            producer.close(timeout=WAIT_S)

    def bounds(self, topic: str, partition: int = 0) -> tuple[int, int]:
        from kafka import TopicPartition

        place = TopicPartition(topic, partition)
        consumer = self._consumer()
        try:
            return consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
        finally:
            consumer.close()

    def offsets_at(self, topic: str, times: Sequence[int]) -> list[int | None]:
        from kafka import TopicPartition

        place = TopicPartition(topic, 0)
        consumer = self._consumer()
        try:
            found = [consumer.offsets_for_times({place: time_ms})[place] for time_ms in times]
        finally:
            consumer.close()
        return [None if each is None else int(each.offset) for each in found]

    def commit(self, group: str, topic: str, offset: int, metadata: str) -> None:
        from kafka import OffsetAndMetadata, TopicPartition

        consumer = self._consumer(group_id=group)
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        try:
            consumer.commit({place: OffsetAndMetadata(offset, metadata, -1)})
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> tuple[int, str] | None:
        from kafka import TopicPartition

        consumer = self._consumer(group_id=group)
        try:
            found = consumer.committed(TopicPartition(topic, 0), metadata=True)
        finally:
            consumer.close()
        return None if found is None else (found.offset, found.metadata)

    def member(self, group: str, topic: str, *, cooperative: bool = False) -> Member:
        def open_() -> Any:
            return self._consumer_of(group, topic, cooperative)

        def poll(consumer: Any) -> tuple[list[bytes], set[int]]:
            # kafka-python 3.0.12 may wait for ever if a poll ends between its join and its sync, so it is not short
            values = [row.value for rows in consumer.poll(500).values() for row in rows]
            if values:
                consumer.commit()
            return values, {place.partition for place in consumer.assignment()}

        return Member(open_, poll)

    def _consumer_of(self, group: str, topic: str, cooperative: bool) -> Any:
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

        strategy = {"partition_assignment_strategy": [CooperativeStickyAssignor]} if cooperative else {}
        consumer = self._consumer(group_id=group, auto_offset_reset="earliest", heartbeat_interval_ms=100, **strategy)
        consumer.subscribe([topic])
        return consumer
