"""The dead-letter topics from outside: what is in them, and sending a record again to the topic that it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError

from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import ANSWER_MS, CLOSE_MS, REPLAYED, ClientMaker, client_settings, looking
from stormline.connectors.kafka_clients import reason, unreachable
from stormline.core.errors import ServerError, StateError


class Letter(NamedTuple):
    """A record in a dead-letter topic."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    """When it was written, ms since the epoch."""
    app: str
    component: str
    """Who could not take it."""
    reason: str
    origin: str
    """`topic/partition/offset` of the record; empty where a plain tuple was none."""
    attempts: int
    traceback: str
    value: bytes | None


def read(brokers: Brokers, topics: Iterable[str], *, app: str) -> Iterator[Letter]:
    """The letters of an app, topic by topic, to where the logs end now. A topic that does not exist has none.

    Raises ServerError.
    """
    with looking(brokers, "dead letters") as consumer:
        for topic in topics:
            numbers = consumer.partitions_for_topic(topic) or ()
            for address in sorted(TopicPartition(topic, number) for number in numbers):
                for record in _records(consumer, address):
                    letter = _letter(address, record)
                    if letter.app == app:
                        yield letter


def send_again(brokers: Brokers, letters: Iterable[Letter]) -> Iterator[tuple[Letter, str | None]]:
    """Read the record of each letter from its topic again and append it there, with key, headers and timestamp, and a
    header `replayed`. Yields each letter once the broker has confirmed, or with the reason why it cannot be.

    Raises ServerError.
    """
    maker, producer = ClientMaker(), None
    try:
        producer = KafkaProducer(**client_settings(brokers), kafka_client=maker, metrics_enabled=False)
        with looking(brokers, "dead letters") as consumer:
            for letter in letters:
                topic, partition, offset = parsed(letter.origin)
                address = TopicPartition(topic, partition)
                record, missing = _record_at(consumer, address, offset)
                if record is not None:
                    headers = [
                        *((n, v) for n, v in record.headers if n != REPLAYED),
                        (REPLAYED, letter.origin.encode()),
                    ]
                    producer.send(
                        topic,
                        key=record.key,
                        value=record.value,
                        headers=headers,
                        partition=partition,
                        timestamp_ms=record.timestamp if record.timestamp >= 0 else None,
                    ).get(ANSWER_MS / 1000)
                yield letter, missing
    except KafkaError as error:
        raise _told(brokers, error) from error
    finally:
        if producer is not None:
            producer.close(timeout=CLOSE_MS / 1000)
        maker.close()


def parsed(origin: str) -> tuple[str, int, int]:
    """Topic, partition and offset of `topic/partition/offset`. Raises StateError."""
    topic, _, numbers = origin.partition("/")
    partition, _, offset = numbers.partition("/")
    if not (topic and all(each.isascii() and each.isdigit() for each in (partition, offset))):
        raise StateError(f'"{origin}" is no place of a record; it is written as topic/partition/offset: orders/0/1234')
    return topic, int(partition), int(offset)


def _records(consumer: Any, address: Any) -> Iterator[Any]:
    """From the first one to where the log ends now."""
    begin = consumer.beginning_offsets([address], timeout_ms=ANSWER_MS)[address]
    end = consumer.end_offsets([address], timeout_ms=ANSWER_MS)[address]
    if begin >= end:
        return
    consumer.assign([address])
    consumer.seek(address, begin)
    while (position := consumer.position(address, timeout_ms=ANSWER_MS)) < end:
        fetched = consumer.poll(timeout_ms=ANSWER_MS)
        if not fetched and consumer.position(address, timeout_ms=ANSWER_MS) == position:
            raise KafkaTimeoutError(f"{address.topic}/{address.partition} was not read to its end")
        for record in fetched.get(address, ()):
            if record.offset < end:
                yield record


def _record_at(consumer: Any, address: Any, offset: int) -> tuple[Any, str | None]:
    """The record with this offset, or why there is none."""
    if address.partition not in (consumer.partitions_for_topic(address.topic) or ()):
        return None, "there is no such partition"
    begin = consumer.beginning_offsets([address], timeout_ms=ANSWER_MS)[address]
    end = consumer.end_offsets([address], timeout_ms=ANSWER_MS)[address]
    if not begin <= offset < end:
        return None, f"the record is not in the topic any more, which holds {begin} to {end}"
    consumer.assign([address])
    consumer.seek(address, offset)
    try:
        found = consumer.poll(timeout_ms=ANSWER_MS, max_records=1).get(address, ())
    except OffsetOutOfRangeError:
        found = ()
    if not found or found[0].offset != offset:
        return None, "there is no record at this offset (compaction, or a transaction)"
    return found[0], None


def _letter(address: Any, record: Any) -> Letter:
    headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    attempts = headers.get("attempts", "")
    return Letter(
        address.topic,
        address.partition,
        record.offset,
        record.timestamp,
        headers.get("app", ""),
        headers.get("component", ""),
        headers.get("reason", ""),
        headers.get("origin", ""),
        int(attempts) if attempts.isdigit() else 0,
        headers.get("traceback", ""),
        record.value,
    )


def _told(brokers: Brokers, error: KafkaError) -> ServerError:
    if isinstance(error, KafkaTimeoutError):
        return ServerError(unreachable(brokers), retriable=True)
    return ServerError(f"Kafka at {brokers}: {reason(error)}")
