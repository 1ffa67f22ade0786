"""Whether an aggregate of one's own keeps the laws that exact results rest on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stormline.core.fold import Aggregate
from stormline.core.own import Own, encode

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def aggregate_laws(
    aggregate: Aggregate,
    *,
    values: SearchStrategy[Any],
    same: Callable[[Any, Any], bool] = operator.eq,
    examples: int = 100,
) -> None:
    """Try the laws of an aggregate on lists of values that Hypothesis draws; call it in a test.

    `values`: what its `add` gets. `same`: whether two results are equal, such as `math.isclose` for floats. The laws:

    - an accumulator that was written to Redis and read back goes on as before
    - `add` and `merge` leave their arguments as they were
    - merging two parts agrees with adding all, wherever the cut is
    - `create()` changes nothing when it is merged
    - `merge` is associative
    - the order of records does not matter

    Windows that slide, sessions that grow together, replays, and restarts need one or another of them.

    Raises:
        AssertionError: a law is broken; says which, on the smallest values that were found.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    own = Own(aggregate)
    faults = own.faults()
    assert not faults, f"this aggregate {'; '.join(faults)}"
    laws = _Laws(own, same)

    @settings(
        max_examples=examples, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(values, max_size=12), st.data())
    def hold(drawn: list[Any], data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(drawn)), label="first cut")
        second = data.draw(st.integers(first, len(drawn)), label="second cut")
        laws.check(drawn, first, second, data.draw(st.permutations(drawn), label="another order"))

    hold()


class _Laws:
    def __init__(self, own: Own, same: Callable[[Any, Any], bool]) -> None:
        self._of = own.aggregate
        self._read = own.read
        self._same = same

    def check(self, values: list[Any], first: int, second: int, shuffled: Sequence[Any]) -> None:
        a, b, c = (self._fold(part) for part in (values[:first], values[first:second], values[second:]))
        whole, of, merged = self._fold(values), self._of, self._merged
        shown = f"values {values!r} cut at {first} and {second}"
        self._equal("merging two parts agrees with adding all", shown, merged(merged(a, b), c), whole)
        self._equal("merge is associative", shown, merged(merged(a, b), c), merged(a, merged(b, c)))
        self._equal("create() changes nothing when it is merged", shown, merged(of.create(), whole), whole)
        self._equal("create() changes nothing when it is merged", shown, merged(whole, of.create()), whole)
        self._equal("the order of merge does not matter", shown, merged(b, a), merged(a, b))
        shown = f"values {values!r}, then {list(shuffled)!r}"
        self._equal("the order of records does not matter", shown, self._fold(shuffled), whole)

    def _equal(self, law: str, shown: str, left: Any, right: Any) -> None:
        one, other = self._of.result(left), self._of.result(right)
        assert self._same(one, other), f"broken: {law}; {one!r} is not {other!r} for {shown}"

    def _fold(self, values: Sequence[Any]) -> Any:
        """Each value added to an accumulator that has been to Redis and back."""
        accumulator = self._of.create()
        for value in values:
            before = encode(accumulator)
            after = self._of.add(accumulator, value)
            assert encode(accumulator) == before, f"broken: add leaves its argument as it was; it changed {before!r}"
            accumulator = self._back(after)
        return accumulator

    def _merged(self, left: Any, right: Any) -> Any:
        before = encode([left, right])
        merged = self._of.merge(left, right)
        assert encode([left, right]) == before, (
            f"broken: merge leaves its arguments as they were; it changed {before!r}"
        )
        return self._back(merged)

    def _back(self, accumulator: Any) -> Any:
        text = encode(accumulator)
        back = self._read(text)
        assert back == accumulator, f"broken: an accumulator comes back as it was; {accumulator!r} became {back!r}"
        encode(self._of.result(accumulator))
        return back
