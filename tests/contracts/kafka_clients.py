"""One small face for the two Kafka clients, so that every contract is asked of both."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

import pytest

WAIT_S = 20


class Sent(NamedTuple):
    """A record to produce. `timestamp` in ms."""

    value: bytes
    key: bytes | None = None
    timestamp: int = 1
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class Got(NamedTuple):
    """A record as it was consumed."""

    offset: int
    value: bytes
    key: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


class How(TypedDict, total=False):
    """How to produce: "none" or a codec's name; 0, 1 or -1; whether as an idempotent producer. Not so by default."""

    codec: str
    acks: int
    is_idempotent: bool


class Client(Protocol):
    """What the contracts need of a client; errors are the client's own exceptions."""

    def send(self, topic: str, records: Sequence[Sent], **how: Unpack[How]) -> list[int]:
        """Produce and give the offsets. Batches as large as the client makes them."""

    def read(
        self, topic: str, count: int, *, start: int | None = 0, partition: int = 0, reset: str = "none"
    ) -> list[Got]:
        """The first `count` records from `start` on (None: from where the reset policy says)."""

    def bounds(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """The earliest and the next offset."""

    def offsets_at(self, topic: str, times: Sequence[int]) -> list[int | None]:
        """For each time the first offset whose record is not older; None if there is none."""

    def commit(self, group: str, topic: str, offset: int, metadata: str) -> None: ...

    def committed(self, group: str, topic: str) -> tuple[int, str] | None: ...

    def member(self, group: str, topic: str) -> "Member":
        """A consumer with a group subscription, polling in a thread of its own."""


class Member:
    """A group member: `open` in its own thread gives the consumer, `poll` its values and its partitions now."""

    def __init__(self, open_: Callable[[], Any], poll: Callable[[Any], tuple[list[bytes], set[int]]]) -> None:
        self.values: list[bytes] = []
        self.partitions: set[int] = set()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, args=(open_, poll), daemon=True)
        self._thread.start()

    def _run(self, open_: Callable[[], Any], poll: Callable[[Any], tuple[list[bytes], set[int]]]) -> None:
        consumer = open_()
        while not self._is_closing:
            values, partitions = poll(consumer)
            with self._changed:
                self.values += values
                self.partitions = partitions
                self._changed.notify_all()
        consumer.close()

    def wait_for(self, is_so: Callable[["Member"], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self), WAIT_S), (self.values, self.partitions)

    def close(self) -> None:
        self._is_closing = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def _until_enough(poll: Callable[[], list[Any]], count: int) -> list[Any]:
    deadline = time.monotonic() + WAIT_S
    got: list[Any] = []
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} records came"
        got += poll()
    return got


class KafkaPython:
    """The contracts' face of kafka-python."""

    def __init__(self, bootstrap: str) -> None:
        self._servers = bootstrap

    def _consumer(self, **settings: Any) -> Any:
        from kafka import KafkaConsumer

        return KafkaConsumer(bootstrap_servers=self._servers, enable_auto_commit=False, retry_backoff_ms=10, **settings)

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
        self, topic: str, count: int, *, start: int | None = 0, partition: int = 0, reset: str = "none"
    ) -> list[Got]:
        from kafka import TopicPartition

        consumer = self._consumer(auto_offset_reset=reset)
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        if start is not None:
            consumer.seek(place, start)
        try:
            rows = _until_enough(lambda: consumer.poll(200).get(place, []), count)
        finally:
            consumer.close()
        return [Got(row.offset, row.value, row.key, row.timestamp, tuple(row.headers)) for row in rows]

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

    def member(self, group: str, topic: str) -> Member:
        def open_() -> Any:
            return self._consumer_of(group, topic)

        def poll(consumer: Any) -> tuple[list[bytes], set[int]]:
            # kafka-python 3.0.12 may wait for ever if a poll ends between its join and its sync, so it is not short
            values = [row.value for rows in consumer.poll(500).values() for row in rows]
            if values:
                consumer.commit()
            return values, {place.partition for place in consumer.assignment()}

        return Member(open_, poll)

    def _consumer_of(self, group: str, topic: str) -> Any:
        consumer = self._consumer(group_id=group, auto_offset_reset="earliest", heartbeat_interval_ms=100)
        consumer.subscribe([topic])
        return consumer


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
        self, topic: str, count: int, *, start: int | None = 0, partition: int = 0, reset: str = "none"
    ) -> list[Got]:
        from confluent_kafka import KafkaException, TopicPartition

        policy = {"none": "error"}.get(reset, reset)
        consumer = self._consumer(**{"auto.offset.reset": policy})
        place = [TopicPartition(topic, partition)] if start is None else [TopicPartition(topic, partition, start)]
        consumer.assign(place)

        def poll() -> list[Any]:
            rows = consumer.consume(count, 0.2)
            for row in rows:
                if row.error():
                    raise KafkaException(row.error())
            return list(rows)

        try:
            rows = _until_enough(poll, count)
        finally:
            consumer.close()
        return [
            Got(row.offset(), row.value(), row.key(), row.timestamp()[1], tuple(row.headers() or ())) for row in rows
        ]

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

    def member(self, group: str, topic: str) -> Member:
        def open_() -> Any:
            consumer = self._consumer(group, **{"auto.offset.reset": "earliest", "heartbeat.interval.ms": 100})
            consumer.subscribe([topic])
            return consumer

        def poll(consumer: Any) -> tuple[list[bytes], set[int]]:
            rows = [row for row in consumer.consume(100, 0.05) if not row.error()]
            if rows:
                consumer.commit(asynchronous=False)
            return [row.value() for row in rows], {place.partition for place in consumer.assignment()}

        return Member(open_, poll)


@pytest.fixture(params=["kafka-python", "confluent-kafka"])
def client(request: pytest.FixtureRequest, kafka: str) -> Client:
    """Either client, talking to the server under test."""
    if request.param == "kafka-python":
        return KafkaPython(kafka)
    pytest.importorskip("confluent_kafka")
    return Confluent(kafka)
