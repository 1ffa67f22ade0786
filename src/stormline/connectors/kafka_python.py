"""The consumer by kafka-python, with a decoder of our own (`kafka_columns.py`).

kafka-python fetches ahead on its own thread; the one that calls here decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    KafkaTimeoutError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
)

from stormline.connectors.brokers import Brokers
from stormline.connectors.columns import Columns
from stormline.connectors.kafka import ClientMaker, client_settings
from stormline.connectors.kafka_clients import (
    ANSWER_MS,
    FETCH_BYTES,
    METADATA_MS,
    Address,
    KafkaFault,
    OutOfRange,
    Topic,
    Unanswered,
    reason,
)
from stormline.connectors.kafka_columns import column_records

TAKE_ALL = 1 << 30
QUIET_FETCH_MS = 250
"""A broker answers one request of a connection after the other: a question of the reader's, which gives up after twice
as long, waits for this one."""
BUSY_FETCH_MS = 5
QUIET_AFTER = 20
"""Polls that gave nothing."""
CONNECT_MS = 2_000
CLOSE_MS = 1_000


class KafkaPythonConsumer:
    """A `stormline.connectors.kafka_clients.Consumer`."""

    def __init__(self, brokers: Brokers, group: str, *, max_batch: int, timestamps: bool) -> None:
        self._maker = ClientMaker()
        try:
            with _faults():
                self._consumer: Any = KafkaConsumer(
                    **client_settings(brokers),
                    kafka_client=self._maker,
                    bootstrap_timeout_ms=CONNECT_MS,
                    group_id=group,
                    enable_auto_commit=False,
                    auto_offset_reset="none",
                    isolation_level="read_committed",
                    fetch_max_wait_ms=QUIET_FETCH_MS,
                    max_partition_fetch_bytes=FETCH_BYTES,
                    metadata_max_age_ms=METADATA_MS,
                    metrics_enabled=False,
                )
        except KafkaFault:
            self._maker.close()
            raise
        # kafka-python has no public way to take another decoder; the project pins its minor version, and the tests of
        # the reader fail if the name changes. Each "record" of `poll` is then a batch of up to max_batch.
        self._consumer._fetcher.PartitionRecords = column_records(max_batch, timestamps=timestamps)
        self._assigned: dict[Address, Any] = {}
        self._standings: dict[Address, tuple[int, int | None]] = {}
        self._held: frozenset[Address] = frozenset()
        self._empty_polls = 0

    def names(self) -> set[str]:
        with _faults():
            return set(self._consumer.topics())

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        cluster = self._maker.client.cluster
        read = {address.topic for address in self._assigned}
        found = {}
        for name in names:
            # What is read is asked for every METADATA_MS anyway; anything else is looked up, among all topics.
            with _faults():
                numbers = (cluster if name in read else self._consumer).partitions_for_topic(name)
            if numbers:
                found[name] = Topic(cluster.topic_id(name), frozenset(numbers))
        return found

    def beginnings(self, addresses: Collection[Address]) -> dict[Address, int]:
        with _faults():
            return self._named(self._consumer.beginning_offsets(_theirs(addresses), timeout_ms=ANSWER_MS))

    def ends(self, addresses: Collection[Address], timeout_ms: int = ANSWER_MS) -> dict[Address, int]:
        with _faults():
            return self._named(self._consumer.end_offsets(_theirs(addresses), timeout_ms=timeout_ms))

    def since(self, addresses: Collection[Address], time_ms: int) -> dict[Address, int | None]:
        with _faults():
            asked = dict.fromkeys(_theirs(addresses), time_ms)
            found = self._named(self._consumer.offsets_for_times(asked, timeout_ms=ANSWER_MS))
        return {each: None if found.get(each) is None else found[each].offset for each in addresses}

    def committed(self, addresses: Collection[Address]) -> dict[Address, int | None]:
        with _faults():
            return {each: self._consumer.committed(TopicPartition(*each), timeout_ms=ANSWER_MS) for each in addresses}

    def assign(self, positions: Mapping[Address, int]) -> None:
        self._assigned |= {address: TopicPartition(*address) for address in positions}
        self._standings |= {address: (offset, None) for address, offset in positions.items()}
        self._consumer.assign(list(self._assigned.values()))  # of those it has, it keeps position and buffer
        for address, offset in positions.items():
            self._consumer.seek(self._assigned[address], offset)

    def hold(self, addresses: Collection[Address]) -> None:
        held = frozenset(self._assigned.keys() & addresses)
        if freed := self._held - held:
            self._consumer.resume(*(self._assigned[address] for address in freed))
        if fresh := held - self._held:
            self._consumer.pause(*(self._assigned[address] for address in fresh))
        self._held = held

    def poll(self, timeout_ms: int) -> dict[Address, list[Columns]]:
        # A broker has one fetch of ours at a time, and a partition that is paused when it is sent waits for the next.
        at_end = all(end is not None and at >= end for at, end in self._standings.values())
        quiet = not self._held and (at_end or self._empty_polls > QUIET_AFTER)  # an open transaction hides the end
        consumer = self._consumer
        consumer._fetcher.config["fetch_max_wait_ms"] = QUIET_FETCH_MS if quiet else BUSY_FETCH_MS
        with _faults():
            # All of what has come, whatever its size: of a response that is taken in parts, kafka-python 3.0.12 forgets
            # the rest when its partition is paused meanwhile and another one's response has been taken to its end.
            fetched = consumer.poll(timeout_ms=timeout_ms, max_records=TAKE_ALL)
            for address, theirs in self._assigned.items():
                self._standings[address] = consumer.position(theirs, timeout_ms=0), consumer.highwater(theirs)
        self._empty_polls = 0 if fetched else self._empty_polls + 1
        return self._named(fetched)

    def standing(self, address: Address) -> tuple[int, int | None]:
        return self._standings[address]

    def commit(self, offsets: Mapping[Address, int], done: Callable[[KafkaFault | None], None]) -> None:
        def answered(_: Any, answer: Any) -> None:
            done(_fault(answer) if isinstance(answer, Exception) else None)

        theirs = {TopicPartition(*each): OffsetAndMetadata(offset, "", -1) for each, offset in offsets.items()}
        with _faults():
            self._consumer.commit_async(theirs, callback=answered)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        self._maker.close()

    @staticmethod
    def _named(found: Mapping[Any, Any]) -> dict[Address, Any]:
        return {Address(*theirs): value for theirs, value in found.items()}


def _theirs(addresses: Collection[Address]) -> list[Any]:
    return [TopicPartition(*address) for address in addresses]


@contextmanager
def _faults() -> Iterator[None]:
    """kafka-python's errors in our words."""
    try:
        yield
    except KafkaError as error:
        raise _fault(error) from error


def _fault(error: Exception) -> KafkaFault:
    if isinstance(error, KafkaTimeoutError):
        return Unanswered(reason(error))
    if isinstance(error, OffsetOutOfRangeError):
        return OutOfRange([Address(*theirs) for theirs in error.args[0]])
    if isinstance(error, LogTruncationError):
        return OutOfRange([Address(*theirs) for theirs in error.divergent_offsets])
    # What was damaged on its way is fetched again, from where the consumer stands.
    return KafkaFault(reason(error), retriable=isinstance(error, RetriableError | CorruptRecordError))
