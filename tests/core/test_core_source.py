"""The rules of a spout task."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stormline.core.batch import Rows
from stormline.core.careful import FOR_BATCHES
from stormline.core.frontier import Frontier
from stormline.core.pending import Limits
from stormline.core.progress import Claim, Progress, ProgressView
from stormline.core.source import (
    FIRST_BACKOFF_MS,
    HALVED_FROM_FAILURE,
    LONGEST_BACKOFF_MS,
    WAIT_FOR_MS,
    Emission,
    Source,
)


def source(**limits: int) -> Source:
    made = Source("s", 1, "me", Limits(**limits))
    made.assign("p", 0, 0, 0)
    return made


def take(made: Source, *offsets: int, times: list[int] | None = None) -> None:
    rows = Rows(list(offsets), times or [o * 10 for o in offsets], [f"r{o}" for o in offsets])
    made.take("p", rows, [], offsets[-1] + 1, 100, 0)


def emit(made: Source, now_ms: int = 0) -> Emission:
    emission = made.next(now_ms)
    assert emission is not None
    return emission


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


def test_the_watermark_stays_below_what_is_not_acked() -> None:
    """
    min(highest event time - bound, lowest unacked event time).
    """
    frontier = Frontier(0)
    assert frontier.watermark_ms(5) is None
    frontier.read(1, 0, 20, 30)
    assert 20 == frontier.watermark_ms(5)
    frontier.read(2, 1, 90, 100)
    frontier.acked(1)
    assert 90 == frontier.watermark_ms(5)
    frontier.acked(2)
    assert 95 == frontier.watermark_ms(5)


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


def claims(*watermarks: int | None, first: int = 0) -> Progress:
    made = tuple(Claim(f"p{first + i}", 10, 5, w, False, False) for i, w in enumerate(watermarks))
    return Progress("s", 1, "me", 1, 2, made)


def test_nothing_is_concluded_before_every_partition_was_heard() -> None:
    """
    With a claim for one of two partitions there is no watermark.
    """
    view = ProgressView({"s": 2})
    view.observe(claims(50))
    assert view.watermark_ms is None
    view.observe(claims(30, first=1))
    assert 30 == view.watermark_ms


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.integers(0, 99)), min_size=2), st.randoms())
def test_claims_in_any_order_come_to_the_same(facts: list[tuple[int, int, int]], random: object) -> None:
    """
    Late, doubled and reordered claims do no harm: watermark and floor are the highest heard.
    """
    progress = [
        Progress("s", 1, "me", n, 2, (Claim(f"p{p}", f, f, w, False, False),)) for n, (p, f, w) in enumerate(facts)
    ]
    one, other = ProgressView({"s": 1}), ProgressView({"s": 1})
    for each in progress:
        one.observe(each)
    shuffled = progress * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for each in shuffled:
        other.observe(each)

    assert (one.watermark_ms, one.floor) == (other.watermark_ms, other.floor)


def fill(made: Source, partition: str, offset: int, times: list[int], log_end: int = 10**9, size: int = 0) -> None:
    rows = Rows([offset + i for i in range(len(times))], times, times)
    made.take(partition, rows, [], offset + len(times), log_end, 0, size)


def test_a_partition_whose_records_are_not_acked_leaves_the_others_theirs() -> None:
    """
    It may use what nobody else does, half of all; each other one still has its share, in records and in bytes.
    """
    for limits, size in (({"max_pending": 40}, 0), ({"max_pending_bytes": 400}, 50)):
        made = Source("s", 1, "me", Limits(**limits))
        for partition in ("stuck", "b", "c", "d"):
            made.assign(partition, 0, 10**9, 0)
        offset = 0
        while "stuck" in made.wanted():
            fill(made, "stuck", offset, [offset] * 5, size=size)
            emit(made, 10_000)
            offset += 5
        assert 25 == offset  # a share of 5, and the 20 that are for all
        assert {"b", "c", "d"} == made.wanted()

        for partition in ("b", "c", "d"):
            fill(made, partition, 0, [0] * 5, size=size)
        assert frozenset() == made.wanted()
        while (emission := made.next(20_000)) is not None:
            made.ack(emission.message_id)
        assert {"b", "c", "d"} <= made.wanted()


def windows_open(pick_oldest: bool) -> int:
    """The most hours that are open at once while a month is caught up with, from three partitions of which the second
    has twice and the third ten times as many records an hour as the first."""
    month_ms, hour_ms, names = 30 * 24 * 3_600_000, 3_600_000, ("a", "b", "c")
    times = {name: list(range(0, month_ms, hour_ms // each)) for name, each in zip(names, (6, 12, 60), strict=True)}
    made = Source("s", 1, "me", Limits(max_pending=10**9, span=10**9))
    for name in names:
        made.assign(name, 0, len(times[name]), 0)
    reached, turn, most = dict.fromkeys(names, 0), 0, 0
    highest_ms = 0
    while any(made.partitions[name].position < len(times[name]) or made._fresh[name] for name in names):
        for name in sorted(made.wanted()):
            first = made.partitions[name].position
            if piece := times[name][first : first + 20]:
                fill(made, name, first, piece, len(times[name]))
        if pick_oldest:
            emission = made.next(0)
        else:
            while not made._fresh[names[turn % 3]]:
                turn += 1
            others = {n: made._fresh[n] for n in names if n != names[turn % 3]}
            for name in others:
                made._fresh[name] = type(made._fresh[name])()
            emission = made.next(10**9)
            made._fresh.update(others)
            turn += 1
        assert emission is not None
        made.ack(emission.message_id)
        reached[emission.partition] = emission.records.times_ms[-1]
        done = {n for n in names if made.partitions[n].position == len(times[n]) and not made._fresh[n]}
        highest_ms = max(highest_ms, reached[emission.partition])
        watermark_ms = min((reached[name] for name in names if name not in done), default=highest_ms)
        most = max(most, highest_ms // hour_ms - watermark_ms // hour_ms + 1)
    return most


def test_catching_up_keeps_few_windows_open() -> None:
    """
    The partition furthest behind in event time goes first: a tenth of the windows that plain round robin holds open.
    """
    assert windows_open(pick_oldest=True) * 10 <= windows_open(pick_oldest=False)


def test_newer_records_wait_a_moment_for_a_partition_that_may_have_older_ones() -> None:
    """
    Not for one that is at its end, nor for one that has come further, and not for ever: it may not be reachable.
    """
    made = Source("s", 1, "me", Limits())
    made.assign("a", 0, 10, 0)
    made.assign("b", 0, 10, 0)
    fill(made, "a", 0, [500], 10)
    assert (made.next(0), made.due_ms) == (None, WAIT_FOR_MS)
    fill(made, "b", 0, [100], 10)
    assert ["b"] == [emit(made, 1).partition]
    assert (made.next(1), made.due_ms) == (None, 1 + WAIT_FOR_MS)
    assert "a" == emit(made, 1 + WAIT_FOR_MS).partition

    for log_end, reached_ms in ((1, 100), (10, 700)):  # b is at its end; b has come further
        made = Source("s", 1, "me", Limits())
        made.assign("a", 0, 10, 0)
        made.assign("b", 0, log_end, 0)
        fill(made, "a", 0, [50, 500], 10)
        fill(made, "b", 0, [reached_ms], log_end)
        assert {50, reached_ms} == {emit(made, now_ms).records.times_ms[0] for now_ms in (0, WAIT_FOR_MS)}
        fill(made, "a", 2, [600], 10)
        assert 600 == emit(made, WAIT_FOR_MS).records.times_ms[0]


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


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=8), st.randoms(use_true_random=False))
def test_the_frontier_is_the_least_offset_whatever_was_broken_cut_or_acked(fetches: list[Any], random: Random) -> None:
    """
    Fetches with broken records among them, batches cut, acks in any order: always the least that is not done.
    """
    frontier, waiting, number = Frontier(0), {}, 0
    for broken, batches in fetches:
        start = frontier.position
        offsets = [start + i for i in range(broken + batches)]
        for offset in random.sample(offsets, len(offsets)):
            number += 1
            frontier.read(number, offset * 2, None, None)
            waiting[number] = offset * 2
        frontier.moved(offsets[-1] + 1, 0)
        for _ in range(random.randint(0, len(waiting))):
            each = random.choice(sorted(waiting))
            if random.random() < 0.2:
                number += 2
                parts = [(number - 1, waiting[each] + 1, None), (number, waiting[each], None)]
                frontier.split(each, parts)
                waiting |= {part: offset for part, offset, _ in parts}
            else:
                frontier.acked(each)
            del waiting[each]
            assert min(waiting.values(), default=frontier.position) == frontier.offset
            assert (waiting[frontier.oldest] if frontier.oldest else frontier.position) == frontier.offset


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
