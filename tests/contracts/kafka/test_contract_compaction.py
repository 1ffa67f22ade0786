"""A topic that was really compacted, and what our reader and the rules of the spout make of its holes.

Of Apache Kafka alone: the embedded broker does not compact (docs/embedded.md).
"""

import random
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from kafka import KafkaAdminClient
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from stormline.connectors.brokers import CLIENTS
from stormline.core.batch import Rows
from stormline.core.events import Committed, Fetched, Trouble
from stormline.core.pending import Limits
from stormline.core.source import Source
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_reading import Reading
from tests.contracts.kafka.kafka_transaction import Transactional
from tests.contracts.kafka.kafka_wire import Wire, await_topic, connected

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("kafka", ["apache"], indirect=True)]
STEPS = 60
SEGMENT_MS = 1_000
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0",
    # A segment ends before a record that is so much younger than its first one. The last one is not compacted.
    "segment.ms": str(SEGMENT_MS),
}
Records = dict[int, tuple[bytes, bytes | None]]
"""Offset -> key and value."""


class Compacted(NamedTuple):
    """`left`: what is there and committed; `end`: of the log."""

    topic: str
    left: Records
    end: int


class History:
    """Writes what will be compacted, and knows what will be left of it."""

    def __init__(self, wire: Wire, topic: str) -> None:
        self._wire, self._topic = wire, topic
        self._time_ms = time.time_ns() // 1_000_000 + 60_000  # markers bear the time of now: they close no segment
        self._committed: Records = {}
        self._aborted: set[int] = set()
        self.segments = [0]
        """Where they begin."""

    def write(
        self, records: list[tuple[bytes, bytes | None]], codec: int = 0, by: Transactional | None = None
    ) -> Records:
        """One batch; its records are committed by `end` if a transaction writes them."""
        builder = DefaultRecordBatchBuilder(2, codec, by is not None, -1, -1, -1, 1 << 24)
        if by is not None:
            builder.set_producer_state(by.id, by.epoch, by.sequence, True)
            by.sequence += len(records)
        for number, (key, value) in enumerate(records):
            builder.append(number, self._time_ms, key, value, [])
        answer = self._wire.produce(self._topic, bytes(builder.build()), name=by and by.name)
        assert answer.error_code == 0
        written = {answer.base_offset + number: record for number, record in enumerate(records)}
        if by is None:
            self._committed |= written
        return written

    def end(self, by: Transactional, written: Records, *, commit: bool) -> None:
        assert by.end(commit=commit) == 0
        self._committed |= written if commit else {}
        self._aborted |= set() if commit else written.keys()
        wait_until(lambda: self._wire.offset(self._topic, -1, committed_only=True).offset == self._log_end())

    def close_segment(self) -> None:
        """The batch that comes next begins another one."""
        self._time_ms += 2 * SEGMENT_MS
        self.segments.append(self._log_end())

    def compacted(self) -> Compacted:
        """Waits until it is: before the last segment each key has its last record, and nothing that was aborted."""
        active = self.segments[-1]
        last = {key: offset for offset, (key, _) in sorted(self._committed.items()) if offset < active}
        offsets = sorted({*last.values(), *(offset for offset in self._committed if offset >= active)})
        stored = sorted({*offsets, *(offset for offset in self._aborted if offset >= active)})
        wait_until(lambda: self._stored() == stored)
        return Compacted(self._topic, {offset: self._committed[offset] for offset in offsets}, self._log_end())

    def _log_end(self) -> int:
        return int(self._wire.offset(self._topic, -1).offset)

    def _stored(self) -> list[int]:
        """The offsets of all records in the log, also of what was aborted."""
        offset, found = 0, []
        while offset < self._log_end():
            records = MemoryRecords(bytes(self._wire.fetch(self._topic, offset).records))
            while (batch := records.next_batch()) is not None:
                if not batch.is_control_batch:
                    found += [record.offset for record in batch]
                offset = batch.last_offset + 1
        return found


@pytest.fixture(scope="module", params=range(2))
def compacted(request: pytest.FixtureRequest, kafka: str, admin: KafkaAdminClient) -> Compacted:
    """Twelve keys, batches of several records, tombstones, transactions that end this way or that, many segments."""
    chance, topic = random.Random(request.param), f"compacted-{request.param}"
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1, "configs": COMPACTED}})
    with connected(kafka) as wire:
        await_topic(wire, topic, 1)
        history, producer = History(wire, topic), Transactional(wire, topic)

        def some() -> list[tuple[bytes, bytes | None]]:
            keys = [b"key %d" % chance.randrange(12) for _ in range(chance.randint(1, 5))]
            return [(key, None if chance.random() < 0.25 else key * 10) for key in keys]

        def transaction(*, commit: bool) -> None:
            assert producer.add(topic) == {topic: 0}
            history.end(
                producer, history.write(some(), by=producer) | history.write(some(), by=producer), commit=commit
            )

        for _ in range(STEPS):
            match chance.randrange(6):
                case 0:
                    transaction(commit=True)
                case 1:
                    transaction(commit=False)
                case 2:
                    history.close_segment()
                case _:
                    history.write(some(), codec=chance.choice((0, 1)))
        history.close_segment()
        history.write(some())
        transaction(commit=False)  # the log ends with what nobody will see
        found = history.compacted()
    assert any(start - 1 not in found.left for start in history.segments[1:])  # the last record of a segment is missing
    assert any(value is None for _, value in found.left.values())
    return found


@pytest.fixture(params=CLIENTS)
def reading(request: pytest.FixtureRequest, kafka: str, compacted: Compacted) -> Iterator[Reading]:
    reading = Reading(request.param, kafka, compacted.topic)
    yield reading
    reading.reader.close()


def test_what_compaction_has_left_reaches_a_spout(compacted: Compacted, reading: Reading) -> None:
    """All of it, tombstones too, and nothing else; the position comes to the end of the log."""
    reading.until(compacted.end)

    assert reading.offsets == list(compacted.left)
    assert reading.values == [value for _, value in compacted.left.values()]
    assert reading.troubles == []


@pytest.mark.parametrize("library", CLIENTS)
def test_a_spout_that_starts_in_a_hole_goes_on_behind_it(kafka: str, compacted: Compacted, library: str) -> None:
    """An offset that was committed, and whose record is gone now, is no lost record."""
    holes = [offset for offset in range(1, max(compacted.left)) if not {offset - 1, offset} & compacted.left.keys()]
    for hole in (holes[0], holes[-1]):
        reading = Reading(library, kafka, compacted.topic, at=hole)

        reading.until(compacted.end)

        reading.reader.close()
        assert reading.offsets == [offset for offset in compacted.left if offset > hole]
        assert reading.troubles == []


@pytest.mark.parametrize("seed", range(3))
def test_a_spout_commits_over_all_holes(kafka: str, compacted: Compacted, reading: Reading, seed: int) -> None:
    """
    Batches are acked in any order, some after they have failed: never is more committed than is acked, and at last
    all of the log is.
    """
    chance = random.Random(seed)
    source = Source("lines", 1, "life", Limits(max_pending=40))
    source.assign(reading.name, 0, 0, 0)
    out: dict[str, list[int]] = {}
    acked: list[int] = []
    asked = now_ms = 0
    committed: int | None = None

    def is_done() -> bool:
        nonlocal asked, now_ms, committed
        for event in reading.taken():
            assert not isinstance(event, Trouble), event
            if isinstance(event, Fetched):
                rows = Rows(list(event.offsets), list(event.offsets), list(event.values))
                source.take(event.partition, rows, [], event.next_offset, event.log_end, now_ms)
            elif isinstance(event, Committed):
                committed = event.offsets[reading.name]
        now_ms += 1_000
        while (emission := source.next(now_ms)) is not None:
            out[emission.message_id] = emission.records.offsets
        for message in chance.sample(sorted(out), len(out) // 2 or len(out)):
            if chance.random() < 0.3:
                source.fail(message, now_ms)
                now_ms += 20_000  # it has waited long enough
            else:
                acked.extend(out.pop(message))
                source.ack(message)
        (frontier,) = source.frontiers().values()
        assert {offset for offset in compacted.left if offset < frontier} <= set(acked)
        if frontier > asked:
            asked = frontier
            reading.reader.commit({reading.name: frontier})
        reading.reader.want(source.wanted())
        return committed == compacted.end

    reading.inbox.until(is_done)

    assert sorted(acked) == list(compacted.left)
