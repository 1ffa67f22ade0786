"""Where a partition was begun again and again: small pieces, one at a time, each known to the store first."""

from core.sources import emit, fill, take

from stormline.core.batch import Rows
from stormline.core.careful import FOR_BATCHES
from stormline.core.pending import Limits
from stormline.core.source import HALVED_FROM_FAILURE, Source


def test_a_partition_that_was_begun_again_and_again_goes_in_small_pieces() -> None:
    """
    From the third start on smaller and smaller, from the sixth single; one at a time, each known to the store first.
    """
    for starts, size in ((1, 500), (2, 500), (3, 128), (4, 25), (5, 5)):
        made = Source("s", 1, "me", Limits())
        made.assign("p", 0, 500, 0, starts)
        made.assign("q", 0, 500, 0, starts)
        for partition, time_ms in (("p", 0), ("q", 1)):
            fill(made, partition, 0, [time_ms] * 500, 500)
        if size == 500:
            assert [size, size] == [len(emit(made).records.offsets) for _ in range(2)]
            assert made.to_try is None
            continue
        assert ("p", 0, size) == made.to_try
        made.tried("p", 0, size)
        first = emit(made)
        assert ("p", size) == (first.partition, len(first.records.offsets))
        assert made.next(0) is made.to_try is None
        made.ack(first.message_id)
        assert ("p", size, size) == made.to_try
        assert made.next(0) is None

    made = Source("s", 1, "me", Limits())
    made.assign("p", 7, 10**9, 0, 6)
    made.assign("q", 0, 10**9, 0, 6)
    fill(made, "p", 7, [1] * 2_000)
    fill(made, "q", 0, [2] * 10)
    for offset in range(7, 7 + FOR_BATCHES):
        assert made.next(0) is None
        assert ("p", offset, 1) == made.to_try
        made.tried("p", offset, 1)
        alone = emit(made)
        assert ("p", [offset]) == (alone.partition, alone.records.offsets)
        assert made.to_try is None
        made.ack(alone.message_id)
    assert {"q"} == made.careful
    emit(made)
    assert ("q", 0, 1) == made.to_try


def test_a_careful_batch_stays_the_only_one_until_all_its_pieces_are_done() -> None:
    """
    It failed and was halved, a record of it was passed over: what is left of it is still out; then the next may go.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("p", 0, 10**9, 0, 4)
    made.assign("q", 0, 0, 0)
    fill(made, "p", 0, [0] * 50)
    made.tried("p", 0, 25)
    batch = emit(made)
    for _ in range(HALVED_FROM_FAILURE):
        fill(made, "q", made.partitions["q"].position, [0], 0)
        made.fail(batch.message_id, 0)
        other = emit(made)  # of a partition that goes its usual way
        made.ack(other.message_id)
        batch = emit(made, made.due_ms or 0)
    assert 12 == len(batch.records.offsets)
    assert made.skip("p", 3, 0) is not None
    pieces = [emit(made, 10**6) for _ in range(3)]
    assert [*range(3), *range(4, 25)] == sorted(offset for piece in pieces for offset in piece.records.offsets)
    for piece in pieces:
        assert made.to_try is None
        assert made.care.is_busy
        made.ack(piece.message_id)
    assert not made.care.is_busy
    assert ("p", 25, 25) == made.to_try


def test_what_was_granted_and_has_not_gone_can_be_taken_back() -> None:
    """
    A spout that is deactivated emits nothing more, and nothing may be to blame that was not out, or is not any more.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("p", 0, 10, 0, 9)
    take(made, 0)
    made.tried("p", 0, 1)
    made.withdraw()
    assert made.next(0) is None
    assert not made.care.is_busy
    made.tried("p", 0, 1)
    out = emit(made)
    made.withdraw()
    assert made.care.is_busy
    made.fail(out.message_id, 0)
    made.withdraw()
    assert not made.care.is_busy


def test_a_record_that_was_passed_over_while_the_store_was_asked_gives_its_leave_to_no_other() -> None:
    """
    The store would name the wrong record if the next one killed the process.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("p", 0, 10, 0, starts=9)
    take(made, 0, 1, 2)
    wanted = made.to_try
    assert ("p", 0, 1) == wanted
    assert made.skip("p", 0, 0) is not None
    made.tried("p", 0, 1)
    assert made.next(0) is None
    assert ("p", 1, 1) == made.to_try
    made.tried("p", 1, 1)
    assert [1] == emit(made).records.offsets


def test_care_ends_with_the_last_record_also_where_it_is_passed_over() -> None:
    """
    What comes later goes in whole batches.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("p", 0, 1, 0, starts=9)
    made.take("p", Rows([0], [0], ["r0"]), [], 1, 1, 0)
    skipped = made.skip("p", 0, 0)
    assert skipped is not None
    assert {"p"} == made.careful
    made.settle("p", skipped.number)
    assert not made.careful


def test_where_care_is_taken_the_next_batch_goes_though_the_one_before_was_passed_over() -> None:
    """
    A batch of one record, of which nothing is left to be acked.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("p", 0, 10, 0, starts=3)
    take(made, 0)
    take(made, 1)
    made.tried("p", 0, 1)
    assert [0] == emit(made).records.offsets
    assert made.to_try is None
    assert made.skip("p", 0, 0) is not None
    made.tried("p", 1, 1)
    assert [1] == emit(made).records.offsets
