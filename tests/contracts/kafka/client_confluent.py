"""The contracts' face of confluent-kafka (librdkafka)."""

from collections.abc import Sequence
from typing import Any, Unpack

from tests.contracts.kafka.kafka_clients import Got, How, Sent, isolation
from tests.contracts.kafka.kafka_member import WAIT_S, Member, until_enough


class Confluent:
    """The contracts' face of confluent-kafka (librdkafka)."""

    def __init__(self, bootstrap: str) -> None:
        self._servers = bootstrap

    def _consumer(self, group: str = "nobody", **settings: Any) -> Any:
        from confluent_kafka import Consumer

        common = {"bootstrap.servers": self._servers, "group.id": group, "enable.auto.commit": False}
        return Consumer(common | settings)

    def send(self, topic: str, records: Sequence[Sent], **how: Unpack[How]) -> list[int]:
        from confluent_kafka import KafkaException, Producer

        producer = Producer({
            "bootstrap.servers": self._servers,
            "acks": how.get("acks", -1),
            "enable.idempotence": how.get("is_idempotent", False),
            "compression.type": how.get("codec", "none"),
            "linger.ms": 5,
            "message.max.bytes": 4 << 20,
        })  # fmt: skip
        reports: list[tuple[Any, Any]] = []
        for row in records:
            producer.produce(
                topic, row.value, row.key, row.partition, lambda *report: reports.append(report),
                timestamp=row.timestamp, headers=list(row.headers),
            )  # fmt: skip
        assert producer.flush(WAIT_S) == 0
        for error, _ in reports:
            if error is not None:
                raise KafkaException(error)
        return [message.offset() for _, message in reports]

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
        from confluent_kafka import KafkaException, TopicPartition

        policy = {"none": "error"}.get(reset, reset)
        consumer = self._consumer(**{"auto.offset.reset": policy, "isolation.level": isolation(committed_only)})
        place = [TopicPartition(topic, partition)] if start is None else [TopicPartition(topic, partition, start)]
        consumer.assign(place)

        def poll() -> list[Any]:
            rows = consumer.consume(count, 0.2)
            for row in rows:
                if row.error():
                    raise KafkaException(row.error())
            return list(rows)

        try:
            rows = until_enough(poll, count)
        finally:
            consumer.close()
        return [
            Got(row.offset(), row.value(), row.key(), row.timestamp()[1], tuple(row.headers() or ())) for row in rows
        ]

    def transact(self, topic: str, values: Sequence[bytes], name: str, *, commit: bool) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self._servers, "transactional.id": name})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        assert producer.flush(WAIT_S) == 0
        (producer.commit_transaction if commit else producer.abort_transaction)(WAIT_S)

    def bounds(self, topic: str, partition: int = 0) -> tuple[int, int]:
        from confluent_kafka import TopicPartition

        consumer = self._consumer()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=WAIT_S)
        finally:
            consumer.close()
        return low, high

    def offsets_at(self, topic: str, times: Sequence[int]) -> list[int | None]:
        from confluent_kafka import OFFSET_END, TopicPartition

        consumer = self._consumer()
        try:
            found = [consumer.offsets_for_times([TopicPartition(topic, 0, each)], timeout=WAIT_S)[0] for each in times]
        finally:
            consumer.close()
        return [None if each.offset == OFFSET_END else int(each.offset) for each in found]

    def commit(self, group: str, topic: str, offset: int, metadata: str) -> None:
        from confluent_kafka import TopicPartition

        consumer = self._consumer(group)
        try:
            consumer.commit(offsets=[TopicPartition(topic, 0, offset, metadata)], asynchronous=False)
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> tuple[int, str] | None:
        from confluent_kafka import TopicPartition

        consumer = self._consumer(group)
        try:
            (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=WAIT_S)
        finally:
            consumer.close()
        return None if found.offset < 0 else (found.offset, found.metadata or "")

    def member(self, group: str, topic: str, *, cooperative: bool = False) -> Member:
        def open_() -> Any:
            settings = {"auto.offset.reset": "earliest", "heartbeat.interval.ms": 100}
            settings |= {"partition.assignment.strategy": "cooperative-sticky"} if cooperative else {}
            consumer = self._consumer(group, **settings)
            consumer.subscribe([topic])
            return consumer

        def poll(consumer: Any) -> tuple[list[bytes], set[int]]:
            rows = [row for row in consumer.consume(100, 0.05) if not row.error()]
            if rows:
                consumer.commit(asynchronous=False)
            return [row.value() for row in rows], {place.partition for place in consumer.assignment()}

        return Member(open_, poll)
