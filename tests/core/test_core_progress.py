"""What may be concluded from the claims of spouts: nothing too early, and the same in any order."""

from hypothesis import given
from hypothesis import strategies as st

from stormline.core.progress import Claim, Progress, ProgressView


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
