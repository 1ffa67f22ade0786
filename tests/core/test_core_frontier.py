"""The frontier of a partition: the least offset that is not done, and the watermark below it."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stormline.core.frontier import Frontier


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
