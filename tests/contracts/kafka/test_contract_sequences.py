"""Batches of an idempotent producer, one by one: copies, gaps, epochs; and batches that are none."""

import pytest
from crc32c import crc32c

from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_wire import Wire, filled, schema
from tests.embedded.kafka.kafka_batches import GZIP, made

pytestmark = pytest.mark.timeout(600)
CORRUPT, INVALID_ACKS, OUT_OF_ORDER, INVALID_EPOCH, INVALID_RECORD, UNKNOWN_TOPIC = 2, 21, 45, 47, 87, 3
LOADING = 14


def new_producer(wire: Wire) -> int:
    body = {"transactional_id": None, "transaction_timeout_ms": 1000, "producer_id": -1, "producer_epoch": -1}
    wait_until(lambda: wire.ask("InitProducerId", 4, **body).error_code != LOADING)  # its first ids are not there yet
    answer = wire.ask("InitProducerId", 4, **body)
    assert (answer.error_code, answer.producer_epoch) == (0, 0)
    return int(answer.producer_id)


def test_every_producer_has_its_own_id(wire: Wire) -> None:
    """Ids are never given twice."""
    ids = [new_producer(wire) for _ in range(5)]

    assert len(set(ids)) == 5
    assert min(ids) >= 0


def test_a_repeated_batch_is_stored_once(wire: Wire, topic: str) -> None:
    """The last five of a producer are known again, each by its offset."""
    producer = new_producer(wire)
    sent = [made([1, 2], producer=producer, sequence=2 * i) for i in range(5)]
    offsets = [wire.produce(topic, batch).base_offset for batch in sent]

    again = [wire.produce(topic, batch) for batch in sent]

    assert offsets == [0, 2, 4, 6, 8]
    assert [(row.error_code, row.base_offset) for row in again] == [(0, offset) for offset in offsets]
    assert wire.offset(topic, -1).offset == 10


def test_a_gap_is_refused(wire: Wire, topic: str) -> None:
    """A batch whose forerunner is missing is not stored; when it has come, all goes on."""
    producer = new_producer(wire)
    first, second, third = (made([1], producer=producer, sequence=i) for i in range(3))
    assert wire.produce(topic, first).error_code == 0

    assert wire.produce(topic, third).error_code == OUT_OF_ORDER

    assert [wire.produce(topic, batch).base_offset for batch in (second, third)] == [1, 2]


def test_an_old_epoch_is_refused(wire: Wire, topic: str) -> None:
    """Once a producer has written under a new epoch, the old one is over; the new one begins at 0."""
    producer = new_producer(wire)
    assert wire.produce(topic, made([1], producer=producer, sequence=0)).error_code == 0
    assert wire.produce(topic, made([1], producer=producer, epoch=1, sequence=1)).error_code == OUT_OF_ORDER
    assert wire.produce(topic, made([1], producer=producer, epoch=1, sequence=0)).error_code == 0

    assert wire.produce(topic, made([1], producer=producer, epoch=0, sequence=1)).error_code == INVALID_EPOCH


def test_partitions_count_for_themselves(wire: Wire, topic: str) -> None:
    """A producer's batches are numbered in each partition from 0 on."""
    producer = new_producer(wire)
    rows = [{"index": index, "records": made([1], producer=producer, sequence=0)} for index in (0, 1)]
    topics = [{"name": topic, "partition_data": rows}]

    answer = wire.ask("Produce", 9, transactional_id=None, acks=-1, timeout_ms=1000, topic_data=topics)

    found = answer.responses[0].partition_responses
    assert sorted((row.index, row.error_code, row.base_offset) for row in found) == [(0, 0, 0), (1, 0, 0)]


def test_a_damaged_batch_is_refused(wire: Wire, topic: str) -> None:
    """A byte that has changed on the way is noticed, in the codec's bytes too, and nothing is stored."""
    for codec in (0, GZIP):
        batch = bytearray(made([1, 2, 3], codec=codec))
        batch[-3] ^= 1
        assert wire.produce(topic, bytes(batch)).error_code == CORRUPT

    assert wire.offset(topic, -1).offset == 0


def test_counts_that_do_not_fit_are_refused(wire: Wire, topic: str) -> None:
    """A batch says how many records it has, and which offset the last one gets; both must agree."""
    batch = bytearray(made([1, 2, 3]))
    batch[57:61] = (2).to_bytes(4)
    batch[17:21] = crc32c(bytes(batch[21:])).to_bytes(4)

    assert wire.produce(topic, bytes(batch)).error_code == INVALID_RECORD
    assert wire.offset(topic, -1).offset == 0


def test_other_acknowledgements_do_not_exist(wire: Wire, topic: str) -> None:
    """0, 1 and -1 (all)."""
    assert wire.produce(topic, made([1]), acks=2).error_code == INVALID_ACKS


def test_a_partition_that_does_not_exist_takes_nothing(wire: Wire, topic: str) -> None:
    """The topic, or only the partition; others of the same request are written."""
    rows = [{"index": index, "records": made([1])} for index in (0, 7)]
    topics = [{"name": topic, "partition_data": rows}, {"name": f"{topic}-never", "partition_data": rows[:1]}]

    answer = wire.ask("Produce", 9, transactional_id=None, acks=-1, timeout_ms=1000, topic_data=topics)

    codes = {(row.name, each.index): each.error_code for row in answer.responses for each in row.partition_responses}
    assert codes == {(topic, 0): 0, (topic, 7): UNKNOWN_TOPIC, (f"{topic}-never", 0): UNKNOWN_TOPIC}


def test_without_acknowledgement_there_is_no_answer(wire: Wire, topic: str) -> None:
    """acks=0: the next answer on the connection is that of the next request."""
    request = unanswered(topic, made([1]))
    wire.connection.sendall(request)

    assert wire.offset(topic, -1).offset == 1


def unanswered(topic: str, batch: bytes) -> bytes:
    """A framed request with acks=0."""
    rows = [{"name": topic, "partition_data": [{"index": 0, "records": batch}]}]
    body = {"transactional_id": None, "acks": 0, "timeout_ms": 1000, "topic_data": rows}
    request = filled(schema("ProduceRequest"), 9, body)
    request.with_header(correlation_id=1, client_id="contract")
    return bytes(request.encode(header=True, framed=True))
