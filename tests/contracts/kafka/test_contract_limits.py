"""How much a fetch brings, how long it waits, and which reader it turns away."""

import time

import pytest

from stormline.embedded.kafka import batches
from tests.contracts.kafka.kafka_clients import Client, Sent
from tests.contracts.kafka.kafka_wire import Wire
from tests.embedded.kafka.kafka_batches import made

pytestmark = pytest.mark.timeout(600)
OUT_OF_RANGE, UNKNOWN_TOPIC, UNKNOWN_EPOCH = 1, 3, 75


def base_offsets(content: bytes) -> list[int]:
    """Those of the whole batches."""
    found, position = [], 0
    while (batch := batches.read_header(content, position)) is not None and position + batch.size <= len(content):
        found.append(batch.base_offset)
        position += batch.size
    return found


@pytest.fixture
def ten(wire: Wire, topic: str) -> str:
    """A topic with ten batches of two records, some 1100 bytes each."""
    for i in range(10):
        assert wire.produce(topic, made([i, i], size=500)).base_offset == 2 * i
    return topic


def test_a_fetch_brings_no_more_than_asked(wire: Wire, ten: str) -> None:
    """The limit of the partition and that of the whole fetch bound what comes; a half batch counts for nothing."""
    for limit in ({"partition_max_bytes": 3500}, {"max_bytes": 3500}):
        content = wire.fetch(ten, 0, **limit).records
        assert len(content) <= 3500
        assert base_offsets(content) == [0, 2, 4]


def test_a_fetch_brings_a_batch_at_least(wire: Wire, ten: str) -> None:
    """One that is larger than the limits comes whole: else its reader could never go on."""
    assert base_offsets(wire.fetch(ten, 4, partition_max_bytes=1, max_bytes=1).records)[0] == 4


def test_a_fetch_begins_with_the_batch_of_its_offset(wire: Wire, ten: str) -> None:
    """In the middle of a batch, the whole batch comes, and the client drops what is before."""
    assert base_offsets(wire.fetch(ten, 5).records) == list(range(4, 20, 2))


def test_a_fetch_at_the_end_is_empty(wire: Wire, ten: str) -> None:
    """No records, no error, and the bounds of the partition."""
    row = wire.fetch(ten, 20)

    assert (row.error_code, row.high_watermark, row.log_start_offset, row.records or b"") == (0, 20, 0, b"")


def test_a_fetch_waits_as_long_as_it_may(wire: Wire, ten: str) -> None:
    """Where nothing comes it is answered after max_wait_ms; with enough to give, at once."""
    began = time.monotonic()
    wire.fetch(ten, 20, max_wait_ms=300)
    waited = time.monotonic() - began
    began = time.monotonic()
    wire.fetch(ten, 0, max_wait_ms=20_000, min_bytes=2000)

    assert waited >= 0.29
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("offset", [21, 1000, -1])
def test_a_fetch_out_of_range_says_so_at_once(wire: Wire, ten: str, offset: int) -> None:
    """However long it may wait."""
    began = time.monotonic()

    row = wire.fetch(ten, offset, max_wait_ms=20_000)

    assert (row.error_code, row.high_watermark) == (OUT_OF_RANGE, -1)
    assert time.monotonic() - began < 10


def test_a_fetch_of_an_unknown_topic_says_so_at_once(wire: Wire, topic: str) -> None:
    """A topic that was deleted meanwhile does not hold its readers."""
    assert wire.fetch(f"{topic}-never", 0, max_wait_ms=20_000).error_code == UNKNOWN_TOPIC


def test_a_reader_with_a_newer_leader_epoch_is_turned_away(wire: Wire, ten: str) -> None:
    """It knows of a leader that this broker has not heard of; the epoch of now, or none, is served."""
    epoch = wire.offset(ten, -1).leader_epoch

    assert wire.fetch(ten, 0, epoch=epoch).error_code == 0
    assert wire.fetch(ten, 0, epoch=epoch + 1).error_code == UNKNOWN_EPOCH
    assert wire.offset(ten, -1, epoch=epoch + 1).error_code == UNKNOWN_EPOCH


def test_the_end_of_a_leader_epoch_is_known(wire: Wire, ten: str) -> None:
    """Of the present one it is the end of the log, by which a reader knows that nothing was cut off behind it."""
    epoch = wire.offset(ten, -1).leader_epoch

    def end(asked: int, current: int = -1) -> tuple[int, int, int]:
        rows = [{"partition": 0, "current_leader_epoch": current, "leader_epoch": asked}]
        topics = [{"topic": ten, "partitions": rows}]
        row = wire.ask("OffsetForLeaderEpoch", 4, replica_id=-1, topics=topics).topics[0].partitions[0]
        return row.error_code, row.leader_epoch, row.end_offset

    assert end(epoch) == (0, epoch, 20)
    assert end(epoch + 5) == (0, -1, -1)
    assert end(epoch, current=epoch + 1)[0] == UNKNOWN_EPOCH


def test_several_partitions_are_fetched_at_once(wire: Wire, either: Client, topic: str) -> None:
    """Each with its own records or error, in one answer."""
    either.send(topic, [Sent(b"x", partition=0), Sent(b"y", partition=1)])
    rows = [{"partition": index, "fetch_offset": 0, "partition_max_bytes": 1000} for index in (0, 1, 5)]
    topics = [{"topic": topic, "partitions": rows}]

    answer = wire.ask(
        "Fetch", 12, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, isolation_level=0, session_id=0, session_epoch=-1,
        topics=topics,
    )  # fmt: skip

    found = {row.partition_index: (row.error_code, row.high_watermark) for row in answer.responses[0].partitions}
    assert found == {0: (0, 1), 1: (0, 1), 5: (UNKNOWN_TOPIC, -1)}
