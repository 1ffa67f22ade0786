"""Record batches: what we write kafka-python reads, what kafka-python writes we read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from stormline.connectors.kafka_columns import column_records
from stormline.connectors.kafka_records import encode_batch, varint

HERE = TopicPartition("t", 0)
MAYBE_BYTES = st.none() | st.binary(max_size=300)
RECORDS = st.lists(st.tuples(st.integers(0, 2**41), MAYBE_BYTES, MAYBE_BYTES, st.booleans()), min_size=1, max_size=40)


def batch_of(records, *, first_offset=0, compression=0, **more) -> bytes:
    builder = MemoryRecordsBuilder(2, compression, 1 << 20, **more)
    for time_ms, key, value, with_header in records:
        builder.append(time_ms, key, value, [("h", b"x"), ("ü" * 70, b"y" * 200), ("h", None)] if with_header else [])
    builder.close()
    data = bytearray(builder.buffer())
    data[:8] = first_offset.to_bytes(8, "big")  # as a broker does; the checksum begins behind it
    return bytes(data)


def read(kind, data: bytes, *, at: int = 0, aborted=()):
    parsed = kind(
        at, HERE, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=aborted
    )
    taken = []
    while parsed and (some := parsed.take(1_000)):
        taken += some
    return taken, parsed.next_fetch_offset


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(RECORDS, min_size=1, max_size=4),
    gap=st.integers(0, 5),
    max_batch=st.integers(1, 50),
    start=st.integers(0, 60),
    compression=st.sampled_from([0, 1]),
    timestamps=st.booleans(),
)
def test_columns_hold_what_kafka_python_reads(batches, gap, max_batch, start, compression, timestamps):
    """Every record of kafka-python's own decoder, in its order, in batches of at most max_batch, and its position."""
    data, offset = b"", 0
    for records in batches:
        data += batch_of(records, first_offset=offset, compression=compression)
        offset += len(records) + gap  # what compaction leaves between
    start = min(start, offset - gap - 1)  # a broker answers with no batch that lies wholly below
    theirs, their_position = read(Fetcher.PartitionRecords, data, at=start)
    ours, our_position = read(column_records(max_batch, timestamps=timestamps), data, at=start)
    assert [row for columns in ours for row in zip(*columns, strict=True)] == [
        (r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in theirs
    ]
    assert all(0 < len(columns.offsets) <= max_batch for columns in ours)
    assert our_position == their_position


@settings(deadline=None, max_examples=60)
@given(
    records=st.lists(
        st.tuples(st.integers(0, 2**41), st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=9)),
        min_size=1,
        max_size=200,
    )
)
def test_a_batch_of_ours_is_read_by_kafka_python(records):
    """Times, keys, values, the header and the producer's numbers come out as they went in; the checksum is right."""
    data = encode_batch(records, header=b"row", producer_id=7, producer_epoch=1, base_sequence=5)
    batch = MemoryRecords(data).next_batch()
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 1, 5)
    assert batch.max_timestamp == max(record[0] for record in records)
    assert [(r.timestamp, r.key, r.value, r.headers) for r in batch] == [
        (time_ms, key, value, [("row", header)]) for time_ms, key, value, header in records
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (63, "7e"),
        (-64, "7f"),
        (64, "8001"),
        (2**31, "8080808010"),
        (-(2**63), "ff" * 9 + "01"),
    ],
)
def test_varints_are_zigzag(number, text):
    """The examples of the protocol-buffers encoding, which Kafka uses, and the edges."""
    assert varint(number).hex() == text


def test_aborted_records_are_left_out_and_the_position_passes_them():
    """A reader of committed records sees nothing of an aborted transaction, but its position is behind it."""
    aborted = batch_of(
        [(1, b"k", b"aborted", False)] * 3, transactional=True, producer_id=9, producer_epoch=0, base_sequence=0
    )
    kept = batch_of([(2, b"k", b"kept", False)], first_offset=3)

    class Aborted:
        producer_id, first_offset = 9, 0

    taken, position = read(column_records(10, timestamps=True), aborted + kept, aborted=[Aborted])
    assert [columns.values for columns in taken] == [[b"kept"]]
    assert position == 4
    taken, position = read(column_records(10, timestamps=True), aborted, aborted=[Aborted])
    assert (taken, position) == ([], 3)


def test_a_batch_may_be_of_any_length():
    """Offsets take one byte, two, then three, within one batch; lengths and times as many as they need."""
    records = [(n * n, b"k" * (n % 70), b"v" * (n % 140), b"%d" % n) for n in range(9_000)]
    data = encode_batch(records, header=b"row", producer_id=7, producer_epoch=1, base_sequence=5)
    taken, position = read(column_records(10_000, timestamps=False), data)
    assert [row for columns in taken for row in zip(*columns, strict=True)] == [
        (n, n * n, b"k" * (n % 70), b"v" * (n % 140), (("row", b"%d" % n),)) for n in range(9_000)
    ]
    assert position == 9_000


@pytest.mark.parametrize("timestamps", [True, False])
def test_offsets_of_a_batch_that_compaction_has_thinned_out_are_its_own(timestamps):
    """Gaps between the records of one batch are kept, and times, keys, values and headers belong to their offsets."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
    for offset in (0, 2, 5):
        builder.append(offset, 1000 + offset, b"k%d" % offset, b"v%d" % offset, [("h", b"h%d" % offset)])
    data = bytes(builder.build()) + batch_of([(9, None, b"v6", False)], first_offset=6)
    (columns,), position = read(column_records(10, timestamps=timestamps), data)
    assert [tuple(column) for column in columns] == [
        (0, 2, 5, 6),
        (1000, 1002, 1005, 9),
        (b"k0", b"k2", b"k5", None),
        (b"v0", b"v2", b"v5", b"v6"),
        ((("h", b"h0"),), (("h", b"h2"),), (("h", b"h5"),), ()),
    ]
    assert position == 7


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_topic_that_takes_the_time_of_its_broker_gives_that_time(timestamps):
    """LogAppendTime (attribute bit 3): each record has the time of its batch, whatever its producer wrote."""
    data = bytearray(batch_of([(1, b"k", b"v", False), (2, b"k", b"v", False)]))
    data[22] |= 0x08
    data[35:43] = (777).to_bytes(8, "big")  # the batch's largest timestamp
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    (columns,), _ = read(column_records(10, timestamps=timestamps), bytes(data))
    assert list(columns.timestamps_ms) == [777, 777]


@pytest.mark.parametrize("at", [70, 100])
def test_a_damaged_batch_is_an_error(at):
    """A byte that changed on the way is found by the checksum, never decoded into a wrong record."""
    data = bytearray(batch_of([(1, b"key", b"value", False)] * 5))
    data[at] ^= 0x40
    with pytest.raises(CorruptRecordError, match="offset 0"):
        read(column_records(10, timestamps=True), bytes(data))
