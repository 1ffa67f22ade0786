"""A record that is passed over: the rest of its batch goes on, and nothing of it is left behind."""

from core.sources import emit, fill, source, take

from stormline.core.source import LONGEST_BACKOFF_MS


def test_a_record_that_is_skipped_leaves_the_rest_of_its_batch() -> None:
    """
    On its way or not yet emitted; the frontier waits for the dead letter, and no piece reaches over the gap.
    """
    for is_out in (False, True):
        made = source()
        take(made, 0, 1, 2, 3)
        take(made, 4)
        old = emit(made) if is_out else None
        skipped = made.skip("p", 1, 0)
        assert skipped is not None
        assert "r1" == skipped.value
        assert is_out == made.replayed  # it was sent on before, and is broken now
        pieces = {tuple(e.records.offsets): e.message_id for e in (emit(made) for _ in range(3))}
        assert {(0,), (2, 3), (4,)} == pieces.keys()
        assert (4 if is_out else 0) == made.replayed
        for message_id in pieces.values():
            made.ack(message_id)
        if old is not None:
            made.fail(old.message_id, 0)
            assert made.due_ms is None
        assert {"p": 1} == made.frontiers()
        made.settle("p", skipped.number)
        assert {"p": 5} == made.frontiers()
        assert made.skip("p", 1, 0) is None


def test_an_emission_tells_its_attempt_also_of_halves_and_of_what_is_left_when_a_record_is_passed_over() -> None:
    """
    What they were part of counts; a record that is passed over tells how often it had gone.
    """
    made = source()
    made.assign("q", 0, 0, 0)
    take(made, *range(8))
    out = [emit(made)]
    assert 1 == out[0].attempt
    for attempt in (2, 3, 4, 5):
        fill(made, "q", made.partitions["q"].position, [0], 0)
        for each in out:
            made.fail(each.message_id, 0)
        made.ack(emit(made).message_id)
        out = list(iter(lambda: made.next(LONGEST_BACKOFF_MS * 2), None))
        assert {attempt} == {each.attempt for each in out}
    assert len(out) >= 2
    skipped = made.skip("p", 1, 0)
    assert skipped is not None
    assert 5 == skipped.attempts
    assert 6 == emit(made).attempt


def test_a_record_that_is_passed_over_takes_up_no_room() -> None:
    """
    Else each would lessen for good what may be fetched.
    """
    made = source(max_pending=1)
    take(made, 0)
    assert frozenset() == made.wanted()
    skipped = made.skip("p", 0, 0)
    assert skipped is not None
    assert {"p"} == made.wanted()


def test_a_failed_batch_of_which_a_record_is_passed_over_comes_again_without_it_once() -> None:
    """
    At once, and its own backoff is forgotten with it.
    """
    made = source()
    take(made, 0, 1, 2)
    made.fail(emit(made).message_id, 0)
    assert made.skip("p", 1, 0) is not None
    assert [[0], [2]] == [emit(made).records.offsets for _ in range(2)]
    assert made.due_ms is None
    assert made.next(LONGEST_BACKOFF_MS) is None
