"""A fetch waits for what is asked, and takes no more than that."""

import time

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_member import WAIT_S, wait_until

pytestmark = pytest.mark.timeout(600)


def test_a_fetch_waits_for_the_bytes_it_asked_for(kafka: str, either: Client, topic: str) -> None:
    """With fetch_min_bytes, little data is held back until more comes or the wait is over."""
    place = TopicPartition(topic, 0)
    settings = {"fetch_min_bytes": 50_000, "fetch_max_wait_ms": 15_000, "auto_offset_reset": "earliest"}
    consumer = KafkaConsumer(bootstrap_servers=kafka, **settings)
    consumer.assign([place])
    either.send(topic, [Sent(b"x")])
    assert consumer.poll(300) == {}

    either.send(topic, [Sent(b"y" * 60_000)])

    assert [len(row.value) for row in consumer.poll(WAIT_S * 1000)[place]] == [1, 60_000]
    consumer.close()


def test_a_fetch_wakes_when_records_come(kafka: str, either: Client, topic: str) -> None:
    """A consumer that waits at the end gets a new record long before its longest wait is over."""
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=15_000, auto_offset_reset="earliest")
    consumer.assign([place])
    assert consumer.poll(300) == {}  # its fetch now waits at the server
    started = time.monotonic()

    either.send(topic, [Sent(b"x")])

    assert [row.value for row in consumer.poll(WAIT_S * 1000)[place]] == [b"x"]
    assert time.monotonic() - started < 10
    consumer.close()


def test_a_message_larger_than_the_fetch_is_not_in_the_way(kafka: str, either: Client, topic: str) -> None:
    """A consumer that asks for little at a time still gets a large message, whole, and what is after it."""
    either.send(topic, [Sent(b"a" * 100_000), Sent(b"b")])
    consumer = KafkaConsumer(
        bootstrap_servers=kafka, auto_offset_reset="earliest", max_partition_fetch_bytes=1000, fetch_max_bytes=1000
    )
    consumer.assign([TopicPartition(topic, 0)])
    sizes: list[int] = []

    def has_both() -> bool:
        sizes.extend(len(row.value) for rows in consumer.poll(200).values() for row in rows)
        return len(sizes) == 2

    wait_until(has_both)
    assert sizes == [100_000, 1]
    consumer.close()


def test_a_message_over_the_limit_is_refused(client: Client, topic: str) -> None:
    """Over max.message.bytes the producer gets an error, nothing is stored, and the partition goes on."""
    with pytest.raises(Exception, match=r"(?i)too.?large"):
        client.send(topic, [Sent(b"a" * 1_100_000)])

    assert client.bounds(topic) == (0, 0)
    assert client.send(topic, [Sent(b"b")]) == [0]
