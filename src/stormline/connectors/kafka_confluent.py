"""The consumer by confluent-kafka (librdkafka).

librdkafka fetches ahead on its own threads, into one queue for all partitions. Questions go through its administrative
client, where they have answers that need not be waited for; commits through a consumer of their own. To pause a
partition throws away what librdkafka has fetched of it, so that is done only when enough of it waits here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import groupby
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from stormline.connectors.brokers import Brokers
from stormline.connectors.columns import Columns, Headers, Later
from stormline.connectors.confluent import confluent_settings, fault, fault_of, result
from stormline.connectors.kafka_clients import (
    ANSWER_MS,
    FETCH_BYTES,
    METADATA_MS,
    Address,
    KafkaFault,
    OutOfRange,
    Topic,
    Unanswered,
)

TAKE: Final = 1_000
"""Records asked of librdkafka at a time: so many stay in the processor's cache."""
TAKES: Final = 8
"""So many times before `poll` returns."""
ASK_AGAIN_S: Final = 0.1
KEPT_BYTES: Final = 8 << 20
"""Of a partition that is held; then it is paused."""
FETCHES: Final = {
    # The default pauses a partition for a whole second once enough of it waits.
    "fetch.queue.backoff.ms": 10,
    "queued.min.messages": 200_000,
    # Of all partitions together: this is what bounds the memory.
    "queued.max.messages.kbytes": 32_768,
    "fetch.message.max.bytes": FETCH_BYTES,
    # A partition that is resumed waits for the fetch that is under way without it.
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 100,
}
_MESSAGE: Any = Message
"""Its annotations allow for what only a message with an error has."""
_LOST: Final = {KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE}
_DAMAGED: Final = {
    # A wrong checksum. Behind it librdkafka may read on at a wrong place, and find formats that do not exist.
    *(KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED, KafkaError._UNDERFLOW),
}
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


class ConfluentConsumer:
    """A `stormline.connectors.kafka_clients.Consumer`."""

    def __init__(self, brokers: Brokers, group: str, *, max_batch: int) -> None:
        self._group = group
        self._max_batch = max_batch
        self._settings = confluent_settings(brokers)
        self._admin = AdminClient(self._settings)
        self._consumer = Consumer(
            {
                **self._settings,
                **FETCHES,
                "group.id": group,  # of a consumer that is no member
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,  # the only sign of a position that moved without records
                "isolation.level": "read_committed",
                "check.crcs": True,
            }
        )
        self._positions: dict[Address, int] = {}
        self._log_ends: dict[Address, int] = {}
        self._held: frozenset[Address] = frozenset()
        self._kept: dict[Address, list[Any]] = {}
        """Of partitions that are held, or just fetched."""
        self._kept_bytes: dict[Address, int] = {}
        self._paused: set[Address] = set()
        self._faults: deque[KafkaFault] = deque()
        """Of the consumer, still to be raised."""
        # Of its own: in the queue of the other one answers would stand in line behind the records. Not by the
        # administrative client: that aborts the process where a connection breaks meanwhile (librdkafka issue 4605).
        self._committer = Consumer(
            {**self._settings, "group.id": group, "enable.auto.commit": False, "on_commit": self._on_commit}
        )
        self._commit: _Commit | None = None
        self._topics: dict[str, tuple[float, Topic | None]] = {}
        """What is known, and since when."""

    def names(self) -> set[str]:
        try:
            return set(self._admin.list_topics(timeout=ANSWER_MS / 1000).topics)
        except KafkaException as error:
            raise fault(error) from error

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        now = time.monotonic()
        old = [name for name in names if self._topics.get(name, (0.0, None))[0] <= now - METADATA_MS / 1000]
        if old:
            asked = self._admin.describe_topics(TopicCollection(old), request_timeout=METADATA_MS / 1000)
            for name, answer in asked.items():
                self._topics[name] = now, _topic(answer)
        return {name: topic for name in names if (topic := self._topics[name][1]) is not None}

    def beginnings(self, addresses: Collection[Address]) -> dict[Address, int]:
        return self._bounds(addresses, _EARLIEST, ANSWER_MS)

    def ends(self, addresses: Collection[Address], timeout_ms: int = ANSWER_MS) -> dict[Address, int]:
        return self._bounds(addresses, _LATEST, timeout_ms)

    def _bounds(self, addresses: Collection[Address], spec: OffsetSpec, timeout_ms: int) -> dict[Address, int]:
        found = self._listed(addresses, spec, timeout_ms)
        if any(offset < 0 for offset in found.values()):
            raise Unanswered
        return found

    def since(self, addresses: Collection[Address], time_ms: int) -> dict[Address, int | None]:
        found = self._listed(addresses, OffsetSpec.for_timestamp(time_ms), ANSWER_MS)
        return {address: None if offset < 0 else offset for address, offset in found.items()}

    def committed(self, addresses: Collection[Address]) -> dict[Address, int | None]:
        # Not by the administrative client: confluent-kafka 2.16.1 crashes there while a new Kafka has no coordinator.
        # A consumer hears of the old one for a moment, and does not ask again by itself.
        deadline = time.monotonic() + ANSWER_MS / 1000
        while True:
            try:
                found = self._consumer.committed([TopicPartition(*each) for each in addresses], ANSWER_MS / 1000)
            except KafkaException as error:
                told = fault(error)
                if not told.retriable or time.monotonic() > deadline:
                    raise told from error
                time.sleep(ASK_AGAIN_S)
            else:
                return {_address(each): None if each.offset < 0 else each.offset for each in _sound(found)}

    def assign(self, positions: Mapping[Address, int]) -> None:
        for address, offset in positions.items():
            self._positions[address], self._kept[address], self._kept_bytes[address] = offset, [], 0
        self._consumer.incremental_assign([TopicPartition(*each, offset) for each, offset in positions.items()])

    def hold(self, addresses: Collection[Address]) -> None:
        self._held = frozenset(addresses)

    def poll(self, timeout_ms: int) -> dict[Address, list[Columns]]:
        self._serve(0)
        if self._faults:
            raise self._faults.popleft()
        found = self._take()
        if not found:
            if self._positions.keys() <= self._held:
                self._serve(timeout_ms)
            else:
                self._fetch(timeout_ms)
                self._serve(0)
                found = self._take()
        return found

    def standing(self, address: Address) -> tuple[int, int | None]:
        kept = self._kept[address]
        return kept[0].offset() if kept else self._positions[address], self._log_ends.get(address)

    def commit(self, offsets: Mapping[Address, int], done: Callable[[KafkaFault | None], None]) -> None:
        theirs = [TopicPartition(*each, offset) for each, offset in offsets.items()]
        try:
            self._committer.commit(offsets=theirs, asynchronous=True)
        except KafkaException as error:
            raise fault(error) from error
        self._commit = _Commit(dict(offsets), done, time.monotonic() + ANSWER_MS / 1000)

    def close(self) -> None:
        self._consumer.close()
        # librdkafka waits for answers to commits, with a broker that is gone up to 45 s.
        threading.Thread(target=self._committer.close, name="kafka-committer-close", daemon=True).start()

    def _serve(self, timeout_ms: int) -> None:
        """Answers to commits: librdkafka calls `_on_commit` here."""
        self._committer.poll(timeout_ms / 1000)
        if self._commit is not None and time.monotonic() > self._commit.until_s:
            self._answered(Unanswered())

    def _on_commit(self, error: Any, theirs: Sequence[Any]) -> None:
        if self._commit is None or {_address(each): each.offset for each in theirs} != self._commit.offsets:
            return  # it came too late, and has been sent again since
        wrong = error or next((each.error for each in theirs if each.error is not None), None)
        self._answered(None if wrong is None else fault_of(wrong))

    def _answered(self, fault: KafkaFault | None) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            commit.done(fault)

    def _take(self) -> dict[Address, list[Columns]]:
        """All that is kept of partitions that are not held."""
        found = {}
        for address, kept in self._kept.items():
            if address in self._held:
                continue
            if kept:
                found[address] = [
                    _columns(kept[first : first + self._max_batch]) for first in range(0, len(kept), self._max_batch)
                ]
                self._kept[address], self._kept_bytes[address] = [], 0
            if address in self._paused:
                self._paused.discard(address)
                self._consumer.resume([TopicPartition(*address)])
        return found

    def _fetch(self, timeout_ms: int) -> None:
        """Keep what has come."""
        # To ask for several and to wait would be to wait until there are so many.
        messages = self._consumer.consume(TAKE, 0)
        if not messages and timeout_ms:
            messages = self._consumer.consume(1, timeout_ms / 1000)
            messages += self._consumer.consume(TAKE - 1, 0) if messages else []
        for _ in range(TAKES):
            self._sort(messages)
            if len(messages) < TAKE:
                return
            messages = self._consumer.consume(TAKE, 0)
        self._sort(messages)

    def _sort(self, messages: Sequence[Any]) -> None:
        errors = list(map(_MESSAGE.error, messages))
        if not any(errors):  # to compare one with None raises
            self._keep(messages)
            return
        damaged: set[Any] = set()
        for wrong, run in groupby(zip(messages, errors, strict=True), lambda each: each[1] is not None):
            if wrong:
                for message, error in run:
                    place = message.topic(), message.partition()
                    if place not in damaged and self._note(message, error):
                        damaged.add(place)
            else:
                self._keep([m for m, _ in run if not damaged or (m.topic(), m.partition()) not in damaged])

    def _keep(self, messages: Sequence[Any]) -> None:
        for topic, of_topic in groupby(messages, _MESSAGE.topic):
            for number, run in groupby(of_topic, _MESSAGE.partition):
                address, found = Address(topic, number), list(run)
                theirs = TopicPartition(*address)
                self._log_ends[address] = self._consumer.get_watermark_offsets(theirs, cached=True)[1]
                self._positions[address] = found[-1].offset() + 1
                self._kept[address] += found
                if address in self._held:
                    self._kept_bytes[address] += sum(map(len, filter(None, map(_MESSAGE.value, found))))
                    if self._kept_bytes[address] > KEPT_BYTES and address not in self._paused:
                        self._paused.add(address)
                        self._consumer.pause([theirs])

    def _note(self, message: Any, error: Any) -> bool:
        """What came in the place of a record. True: it was damaged, and what comes behind it is not to be kept.

        librdkafka would go on with the batch behind one whose checksum is wrong, or at an offset that it takes from the
        bytes behind it and that no log has; so it is sent back. Lost is an offset where this stands, or, where a log
        was truncated (KIP-320), one below 0.
        """
        address = Address(message.topic(), message.partition())
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            end = message.offset()
            self._positions[address] = max(end, self._positions[address])
            self._log_ends[address] = end
        elif code in _LOST and (message.offset() < 0 or message.offset() == self._positions.get(address)):
            self._faults.append(OutOfRange([address]))
        elif code in _LOST | _DAMAGED and address in self._positions:
            # To seek is refused while librdkafka is busy with the partition.
            self._consumer.incremental_unassign([TopicPartition(*address)])
            self._consumer.incremental_assign([TopicPartition(*address, self._positions[address])])
            self._paused.discard(address)
            self._faults.append(KafkaFault(error.str(), retriable=True))
            return True
        else:
            self._faults.append(fault_of(error))
        return False

    def _listed(self, addresses: Collection[Address], spec: OffsetSpec, timeout_ms: int) -> dict[Address, int]:
        asked = {TopicPartition(*address): spec for address in addresses}
        answers = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=timeout_ms / 1000
        )
        return {_address(theirs): result(answer, timeout_ms).offset for theirs, answer in answers.items()}


class _Commit(NamedTuple):
    """One that is not answered yet."""

    offsets: Mapping[Address, int]
    done: Callable[[KafkaFault | None], None]
    until_s: float


class _Run:
    """Messages of one partition, of which offsets and values are read at once, the rest when somebody looks."""

    def __init__(self, messages: Sequence[Any]) -> None:
        self._messages = messages

    @cached_property
    def timestamps_ms(self) -> Sequence[int]:
        return [time_ms for _, time_ms in map(_MESSAGE.timestamp, self._messages)]

    @cached_property
    def keys(self) -> Sequence[bytes | None]:
        return list(map(_MESSAGE.key, self._messages))

    @cached_property
    def headers(self) -> Sequence[Headers]:
        return [tuple(headers or ()) for headers in map(_MESSAGE.headers, self._messages)]


def _columns(messages: Sequence[Any]) -> Columns:
    run, whole = _Run(messages), range(len(messages))
    return Columns(
        list(map(_MESSAGE.offset, messages)),
        Later(lambda: run.timestamps_ms, whole),
        Later(lambda: run.keys, whole),
        list(map(_MESSAGE.value, messages)),
        Later(lambda: run.headers, whole),
    )


def _address(theirs: Any) -> Address:
    return Address(theirs.topic, theirs.partition)


def _topic(answer: Future[Any]) -> Topic | None:
    try:
        found = result(answer, METADATA_MS)
    except KafkaFault as fault:
        cause = fault.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    theirs = found.topic_id
    bits = (theirs.get_most_significant_bits() % (1 << 64)) << 64 | theirs.get_least_significant_bits() % (1 << 64)
    return Topic(uuid.UUID(int=bits) if bits else None, frozenset(each.id for each in found.partitions))


def _sound(found: Any) -> Iterator[Any]:
    """Of an answer, what it says of each partition. Raises KafkaFault for the first that has an error."""
    for each in found:
        if each.error is not None:
            raise fault_of(each.error)
        yield each
