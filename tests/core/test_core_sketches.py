"""What sketches and summaries promise, tried: Distinct, Quantiles, TopK beyond what they count exactly."""

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline.core.fold import Fold
from stormline.core.frequent import TopK
from stormline.core.sketches import Distinct, Quantiles

SEED = 20261125


def fold(aggregate: Fold, values: Any) -> Any:
    state = aggregate.create()
    for value in values:
        state = aggregate.add(state, value)
    return state


def in_parts(aggregate: Fold, values: list[Any], parts: int) -> Any:
    state = aggregate.create()
    for part in range(parts):
        state = aggregate.merge(state, fold(aggregate, values[part::parts]))
    return state


def test_distinct_is_exact_up_to_its_limit() -> None:
    """
    However often each value comes; one more value, and it is an estimate.
    """
    aggregate = Distinct("v", limit=1000)
    full = fold(aggregate, 2 * list(range(1000)))

    assert aggregate.result(full) == 1000
    assert full[1] == b""
    for values in (range(1001), range(3000)):
        texts, sketch = fold(aggregate, values)
        assert (True, True) == (len(texts) <= 64, 0 < len(sketch) < 5000)


def test_distinct_beyond_its_limit_is_within_its_error() -> None:
    """
    Forty sets of 1,500 to 6,000 values: the standard error is 1.6 %, and none is off by more than 4.9 %.
    """
    aggregate = Distinct("v", limit=1000)
    errors = []
    for number in range(40):
        size = 1500 + number * 115
        values = range(number * 10_000, number * 10_000 + size)
        errors.append(aggregate.result(fold(aggregate, values)) / size - 1)

    assert max(map(abs, errors)) < 0.049
    assert 0.003 < (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 0.0163 * 1.25


@pytest.mark.parametrize("size", [5, 6, 40, 300, 500, 3000])
def test_an_estimate_of_distinct_does_not_depend_on_the_order(size: int) -> None:
    """
    A replay in another order, in other parts, gives the same number, so what is final stays.
    """
    aggregate = Distinct("v", limit=5)
    values = [str(number) for number in range(size)] * 2
    found = set()
    for parts in (1, 2, 7):
        random.Random(SEED + parts).shuffle(values)
        found.add(aggregate.result(in_parts(aggregate, values, parts)))

    assert 1 == len(found)
    assert size == pytest.approx(found.pop(), rel=0.049)


def rank_error(values: list[Any], fraction: float, found: Any) -> float:
    """How far the rank of a value is from the one asked for; 0 where equal values lie on both sides."""
    below, upto = bisect_left(values, found) / len(values), bisect_right(values, found) / len(values)
    return max(0.0, below - fraction, fraction - upto)


@pytest.mark.parametrize("parts", [1, 10])
def test_quantiles_are_within_their_error(parts: int) -> None:
    """
    Of 200 quantiles of 3,000 values, merged from parts or not, at least 95 % are within 1.33 %, and all within 3 %.
    """
    fractions = [0.01, 0.25, 0.5, 0.9, 0.99]
    aggregate = Quantiles("v", fractions)
    seeded = random.Random(SEED + parts)
    errors = []
    for _ in range(40):
        values = [seeded.expovariate(1) for _ in range(3000)]
        found = aggregate.result(in_parts(aggregate, values, parts))
        values.sort()
        errors += [rank_error(values, *pair) for pair in zip(fractions, found or (), strict=True)]

    assert max(errors) < 0.03
    assert 0.95 * len(errors) <= sum(error <= 0.0133 for error in errors)


def test_quantiles_of_200_values_are_exact() -> None:
    """
    The smallest value that is at least as large as that fraction of all.
    """
    values = list(range(1, 201))
    random.Random(SEED).shuffle(values)
    aggregate = Quantiles("v", [0, 0.005, 0.5, 0.501, 0.999, 1])

    for parts in (1, 2, 9):
        assert [1, 1, 100, 101, 200, 200] == aggregate.result(in_parts(aggregate, values, parts))


def test_a_quantile_is_a_value_that_was_there() -> None:
    """
    Amounts of up to 15 digits come back as they were, and as Decimals; the ends are the smallest and the largest.
    """
    seeded = random.Random(SEED)
    values = [Decimal(seeded.randrange(10**15)).scaleb(-2) for _ in range(2000)]
    aggregate = Quantiles("v", [0, 0.1, 0.5, 0.9, 1])
    found = aggregate.result(fold(aggregate, values)) or []

    assert set(found) <= set(values)
    assert (min(values), max(values)) == (found[0], found[-1])
    assert {Decimal} == set(map(type, found))


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=300), st.integers(1, 6), st.integers(1, 4))
def test_counts_of_the_most_frequent_are_within_what_is_told(values: list[int], limit: int, parts: int) -> None:
    """
    No count is too high, none too low by more than the error, and the error is at most all records by the limit + 1.
    """
    aggregate = TopK("v", limit, limit=limit)
    found = aggregate.result(in_parts(aggregate, values, parts))
    exact = Counter(values)

    assert found.error <= len(values) / (limit + 1)
    assert all(count <= exact[value] <= count + found.error for value, count in found.values)
    told = {value for value, _ in found.values}
    assert all(count <= found.error for value, count in exact.items() if value not in told)
    if len(exact) <= limit:
        assert (sorted(exact.items()), 0) == (sorted(found.values), found.error)


def test_errors_of_parts_add_up() -> None:
    """
    Three parts of a stream in which few values are most of it: each bound is told by the merged summary, and kept.
    """
    seeded, limit = random.Random(SEED), 20
    values = [int(seeded.paretovariate(0.5)) for _ in range(3000)]
    aggregate = TopK("v", limit, limit=limit)
    found, exact = aggregate.result(in_parts(aggregate, values, 3)), Counter(values)

    assert 0 < found.error <= len(values) / (limit + 1)
    assert all(count <= exact[value] <= count + found.error for value, count in found.values)
    assert {value for value, count in exact.items() if count > found.error} <= {value for value, _ in found.values}


def test_values_that_are_equal_are_one() -> None:
    """
    1.10 and 1.1, -0.0 and 0.0; but a number and its text are two.
    """
    aggregate = Distinct("v", limit=None)

    assert 1 == aggregate.result(fold(aggregate, [Decimal("1.10"), Decimal("1.1")]))
    assert 1 == aggregate.result(fold(aggregate, [Decimal("100"), Decimal("1E+2"), Decimal("100.0")]))
    assert 1 == aggregate.result(fold(aggregate, [0.0, -0.0]))
    assert 2 == aggregate.result(fold(aggregate, [1, "1"]))
