"""The rules of a spout task: what is acked and committed, what comes again, what may be fetched."""

from core.sources import emit, source, take
from hypothesis import given
from hypothesis import strategies as st

from stormline.core.batch import Rows
from stormline.core.source import FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS


def test_the_frontier_is_the_first_offset_not_acked() -> None:
    """
    Acks out of order, over gaps, move the frontier only as far as everything below is acked.
    """
    made = source()
    ids = []
    for offset in (0, 3, 9):
        take(made, offset)
        ids.append(emit(made).message_id)

    made.ack(ids[1])
    assert {"p": 0} == made.frontiers()
    made.ack(ids[0])
    assert {"p": 9} == made.frontiers()
    made.ack(ids[2])
    assert {"p": 10} == made.frontiers()


@given(st.permutations(range(6)), st.integers(0, 6))
def test_whatever_the_order_of_acks_nothing_unacked_is_passed(order: list[int], count: int) -> None:
    """
    After any acks in any order the frontier is the least offset that is not acked.
    """
    made = source()
    ids = []
    for offset in range(6):
        take(made, offset)
        ids.append(emit(made).message_id)
    for number in order[:count]:
        made.ack(ids[number])

    assert {"p": min(order[count:], default=6)} == made.frontiers()


def test_a_failed_batch_comes_again_after_a_growing_backoff() -> None:
    """
    Twice the wait after each failure, with jitter, up to a limit, for ever.
    """
    made, now_ms = source(), 0
    take(made, 0)
    message_id = emit(made).message_id
    for failure in range(12):
        made.fail(message_id, now_ms)
        least = min(FIRST_BACKOFF_MS << failure, LONGEST_BACKOFF_MS)
        assert made.due_ms is not None
        assert least <= made.due_ms - now_ms <= least * 1.5
        assert made.next(made.due_ms - 1) is None
        now_ms = made.due_ms
        assert message_id == emit(made, now_ms).message_id


def test_halves_come_from_the_third_failure_and_only_if_overtaken() -> None:
    """
    A batch is cut when later ones get through; if nothing does, cutting helps nothing.
    """
    made, now_ms = source(), 0
    take(made, 0, 1, 2, 3)
    take(made, 4)
    first, second = emit(made), emit(made)
    for _ in range(4):
        made.fail(first.message_id, now_ms)
        now_ms = made.due_ms or 0
        again = emit(made, now_ms)
        assert [0, 1, 2, 3] == again.records.offsets

    made.fail(second.message_id, now_ms)
    now_ms = made.due_ms or 0
    made.ack(emit(made, now_ms).message_id)
    made.fail(first.message_id, now_ms)
    now_ms += LONGEST_BACKOFF_MS * 2
    halves = [emit(made, now_ms).records.offsets, emit(made, now_ms).records.offsets]

    assert [[0, 1], [2, 3]] == halves
    assert {"p": 0} == made.frontiers()


def test_acks_of_an_earlier_life_mean_nothing() -> None:
    """
    A message id of another incarnation, or of a batch that is gone, is ignored.
    """
    made = source()
    take(made, 0)
    emission = emit(made)
    made.ack("other:1")
    made.fail("other:1", 0)
    assert {"p": 0} == made.frontiers()

    made.ack(emission.message_id)
    made.ack(emission.message_id)
    made.fail(emission.message_id, 0)
    assert {"p": 1} == made.frontiers()
    assert made.due_ms is None


def test_too_much_on_its_way_stops_the_fetching() -> None:
    """
    Neither `max_pending` records nor `span` offsets are passed by more than one batch.
    """
    made = source(max_pending=3, span=50)
    take(made, 0, 1)
    first = emit(made)
    assert frozenset({"p"}) == made.wanted()
    take(made, 2)
    second = emit(made)
    assert frozenset() == made.wanted()
    made.ack(second.message_id)
    assert frozenset({"p"}) == made.wanted()

    take(made, 60)
    made.ack(emit(made).message_id)
    assert frozenset() == made.wanted()
    made.ack(first.message_id)
    assert frozenset({"p"}) == made.wanted()


def test_a_record_for_the_dead_letters_holds_the_frontier_until_it_is_safe() -> None:
    """
    A broken offset is passed once it is settled, not before.
    """
    made = source()
    numbers = made.take("p", Rows([1], [10], ["r"]), [0], 2, 2, 0)
    made.ack(emit(made).message_id)
    assert {"p": 0} == made.frontiers()

    made.settle("p", numbers[0])
    assert {"p": 2} == made.frontiers()


def test_a_partition_is_idle_only_when_caught_up_and_acked() -> None:
    """
    Not while something is unread or unacked, however long it takes.
    """
    made = source(idle_after_ms=100)
    made.take("p", Rows([0], [0], ["r"]), [], 1, 5, 0)
    emission = emit(made)
    assert not made.progress(1000).claims[0].idle
    made.ack(emission.message_id)
    assert not made.progress(1000).claims[0].idle
    made.take("p", Rows([], [], []), [], 5, 5, 1000)
    assert not made.progress(1099).claims[0].idle
    assert made.progress(1100).claims[0].idle
