"""Which partition goes first, and how much of what may be on its way each of them has."""

from core.sources import emit, fill

from stormline.core.pending import Limits
from stormline.core.source import WAIT_FOR_MS, Source


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
