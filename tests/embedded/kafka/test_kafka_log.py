"""The log of a partition on disk: what it answers, and what it takes back up after any kind of end."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stormline.embedded.kafka import batches
from stormline.embedded.kafka.batches import HEADER_SIZE
from stormline.embedded.kafka.errors import Code, DamagedError, RefusedError
from stormline.embedded.kafka.log import Limits, Log
from tests.embedded.kafka.kafka_batches import GZIP, made

NO_LIMIT = 1 << 30


def opened(directory: Path, *, is_intact: bool = False, **limits: int) -> Log:
    """A log on that directory."""
    all_limits = {"segment_bytes": NO_LIMIT, "retention_ms": -1, "retention_bytes": -1, "max_message_bytes": NO_LIMIT}
    log = Log(directory, Limits(**all_limits | limits))
    log.recover(is_intact=is_intact)
    return log


def put(log: Log, content: bytes) -> int:
    """Append as a produce request does."""
    return log.append(content, batches.accept(content, NO_LIMIT))[0]


def offsets_in(content: bytes) -> list[int]:
    """The base offsets of the whole batches in a fetch answer, which must hold nothing else."""
    found, position = [], 0
    while position < len(content):
        batch = batches.read_header(content, position)
        assert batch is not None
        assert batches.is_intact(content, position, batch)
        found.append(batch.base_offset)
        position += batch.size
    return found


def test_a_tail_torn_at_any_byte_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever a killed process stopped writing, all batches before stay, none is half there, and writing goes on."""
    log = opened(tmp_path)
    for _ in range(3):
        put(log, made([1, 2]))
    path = log.segments[0].file.path
    log.close()
    whole = path.read_bytes()
    start = len(whole) // 3 * 2
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])

        log = opened(tmp_path)

        assert log.end == 4
        assert path.stat().st_size == start
        assert ("cut" in capsys.readouterr().err) == (end > start)
        assert put(log, made([3])) == 4
        assert offsets_in(log.read(0, NO_LIMIT, at_least_one=True)) == [0, 2, 4]
        log.close()


def test_a_last_batch_with_any_wrong_byte_is_cut(tmp_path: Path) -> None:
    """A batch whose bytes never all reached the disk fails its checksum, or its header, and is not served."""
    log = opened(tmp_path)
    for _ in range(2):
        put(log, made([1, 2]))
    path = log.segments[0].file.path
    log.close()
    whole = path.read_bytes()
    half = len(whole) // 2
    unchecked = {*range(half, half + 8), *range(half + 12, half + 16)}  # base offset and leader epoch are the broker's
    for position in set(range(half, len(whole))) - unchecked:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])

        log = opened(tmp_path)

        assert log.end == 2, position
        log.close()


def test_damage_before_the_last_segment_is_an_error(tmp_path: Path) -> None:
    """A hole in the middle of the log is never skipped: the broker names the file and the byte."""
    log = opened(tmp_path, segment_bytes=100)
    for _ in range(3):
        put(log, made([1]))
    first = log.segments[0].file
    log.close()
    first.path.write_bytes(first.path.read_bytes()[:-1])

    with pytest.raises(DamagedError, match=rf"{first.path}.*byte 0"):
        opened(tmp_path)


def test_a_log_without_records_keeps_its_place(tmp_path: Path) -> None:
    """When all records are deleted the next one still gets the next offset, also after a restart."""
    log = opened(tmp_path, segment_bytes=100)
    for _ in range(3):
        put(log, made([1]))
    log.trim(3)
    log.close()

    log = opened(tmp_path, segment_bytes=100)

    assert (log.start, log.end) == (2, 3)  # the broker's journal moves the start back to 3
    assert put(log, made([1])) == 3
    log.close()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    batch_times=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=30),
    sizes=st.lists(st.sampled_from([1, 500, 5000]), min_size=1, max_size=4),
    segment_bytes=st.sampled_from([200, 3000, NO_LIMIT]),
    codec=st.sampled_from([0, GZIP]),
    is_reopened=st.booleans(),
    data=st.data(),
)
def test_reading_and_times_agree_with_a_list(
    tmp_path_factory: pytest.TempPathFactory,
    batch_times: list[list[int]],
    sizes: list[int],
    segment_bytes: int,
    codec: int,
    is_reopened: bool,
    data: st.DataObject,
) -> None:
    """Any offset is found, answers are whole batches within their limit, and a time finds what a plain list would."""
    directory = tmp_path_factory.mktemp("log")
    log = opened(directory, segment_bytes=segment_bytes)
    bases = [
        put(log, made(times, codec=codec, size=sizes[i % len(sizes)], producer=7, sequence=log.end))
        for i, times in enumerate(batch_times)
    ]
    if is_reopened:
        log.close()
        log = opened(directory, is_intact=data.draw(st.booleans()), segment_bytes=segment_bytes)
    times = [time_ms for batch in batch_times for time_ms in batch]
    assert bases == [sum(map(len, batch_times[:i])) for i in range(len(batch_times))]
    assert log.end == len(times)

    offset = data.draw(st.integers(0, log.end))
    max_bytes = data.draw(st.sampled_from([0, 150, 6000, 20_000, NO_LIMIT]))
    content = log.read(offset, max_bytes, at_least_one=True)
    found = offsets_in(content)
    wanted = [base for base in bases if base >= offset or base == max((b for b in bases if b <= offset), default=0)]
    assert found == wanted[: len(found)]
    assert (offset == log.end) == (not found)
    assert len(found) <= 1 or len(content) <= max_bytes
    assert log.available(offset) >= len(content)
    if len(log.segments) == 1 and max_bytes == NO_LIMIT and offset < log.end:
        assert found == wanted
    assert len(offsets_in(log.read(offset, max_bytes, at_least_one=False))) in (len(found), len(found) - 1)

    asked = data.draw(st.integers(0, 51))
    first = next(((i, time_ms) for i, time_ms in enumerate(times) if time_ms >= asked), None)
    assert log.first_at(asked) == first
    newest = log.latest()
    assert newest == (times.index(max(times)), max(times))
    log.close()


def test_reading_out_of_range_is_refused(tmp_path: Path) -> None:
    """One past the end is empty, anything beyond or before the start is an error."""
    log = opened(tmp_path, segment_bytes=100)
    for _ in range(4):
        put(log, made([1]))
    log.trim(2)

    assert log.read(4, NO_LIMIT, at_least_one=True) == b""
    for offset in (-1, 1, 5):
        with pytest.raises(RefusedError) as caught:
            log.read(offset, NO_LIMIT, at_least_one=True)
        assert caught.value.code is Code.OFFSET_OUT_OF_RANGE
    log.close()


def test_a_repeated_batch_is_stored_once(tmp_path: Path) -> None:
    """The last five batches of a producer are answered with their first offset, also after a restart."""
    log = opened(tmp_path)
    sent = [made([1, 2], producer=5, sequence=2 * i) for i in range(7)]
    for content in sent:
        put(log, content)
    for _ in range(2):
        assert [put(log, content) for content in sent[2:]] == [4, 6, 8, 10, 12]
        assert log.end == 14
        log.close()
        log = opened(tmp_path)
    log.close()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (made([1], producer=5, epoch=1, sequence=2), Code.OUT_OF_ORDER_SEQUENCE_NUMBER),  # 1 is missing
        (made([1], producer=5, epoch=0, sequence=1), Code.INVALID_PRODUCER_EPOCH),
        (made([1], producer=5, epoch=2, sequence=1), Code.OUT_OF_ORDER_SEQUENCE_NUMBER),  # a new epoch begins at 0
    ],
)
def test_a_gap_in_a_producers_sequence_is_refused(tmp_path: Path, content: bytes, code: Code) -> None:
    """A lost batch shows as an error and not as a hole, also after a restart; nothing is stored."""
    log = opened(tmp_path)
    put(log, made([1], producer=5, epoch=1, sequence=0))
    for _ in range(2):
        with pytest.raises(RefusedError) as caught:
            put(log, content)
        assert caught.value.code is code
        assert log.end == 1
        log.close()
        log = opened(tmp_path)
    assert put(log, made([1], producer=5, epoch=2, sequence=0)) == 1
    log.close()


def test_an_unknown_producer_may_begin_anywhere(tmp_path: Path) -> None:
    """A producer whose batches are all deleted goes on, as with Kafka."""
    log = opened(tmp_path)

    assert put(log, made([1], producer=9, sequence=77)) == 0
    assert put(log, made([1], producer=9, sequence=78)) == 1
    log.close()


def test_sequences_begin_again_after_the_largest(tmp_path: Path) -> None:
    """The number after 2^31 - 1 is 0, also within a batch."""
    log = opened(tmp_path)
    put(log, made([1], producer=9, sequence=(1 << 31) - 2))

    assert put(log, made([1, 1, 1], producer=9, sequence=(1 << 31) - 1)) == 1
    assert put(log, made([1], producer=9, sequence=2)) == 4
    log.close()


def test_old_segments_are_deleted_by_age_and_size(tmp_path: Path) -> None:
    """Whole closed segments go, the oldest first; the first offset moves up; the last segment always stays."""
    size = len(made([1]))
    log = opened(tmp_path, segment_bytes=size, retention_ms=1000)
    for time_ms in (100, 200, 5000, 5000, 100):
        log.limits.retention_ms = -1
        put(log, made([time_ms]))
    log.limits.retention_ms = 1000

    log.retain(5500)
    assert log.start == 2
    log.limits.retention_bytes = 2 * size
    log.retain(5500)
    assert (log.start, log.end) == (3, 5)
    log.retain(10**9)
    assert (log.start, log.end) == (4, 5)
    assert len(list(tmp_path.glob("*.log"))) == 1
    log.close()


def test_a_batch_that_is_not_sound_is_refused() -> None:
    """A cut, changed, doubled, over-long or old-format batch never reaches the disk."""
    content = made([1, 2])
    bad = {
        Code.INVALID_RECORD: [b"", content[:-1], content + content, content[:40], None],
        Code.CORRUPT_MESSAGE: [content[:-1] + b"x", content[:HEADER_SIZE] + bytes(len(content) - HEADER_SIZE)],
        Code.UNSUPPORTED_FOR_MESSAGE_FORMAT: [content[:16] + b"\x01" + content[17:]],
    }
    for code, contents in bad.items():
        for each in contents:
            with pytest.raises(RefusedError) as caught:
                batches.accept(each, NO_LIMIT)
            assert caught.value.code is code
    with pytest.raises(RefusedError) as caught:
        batches.accept(content, len(content) - 1)
    assert caught.value.code is Code.MESSAGE_TOO_LARGE
