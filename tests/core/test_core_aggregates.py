"""What each aggregate says of a few records, one of a user's own among them."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from core.aggregates import DAY, Longest, Trade, decimals, result, trade, worth
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline import (
    AllTrue,
    AnyTrue,
    Collect,
    Concat,
    Count,
    Distinct,
    First,
    Histogram,
    Last,
    Max,
    Mean,
    Min,
    Quantiles,
    Range,
    StdDev,
    Sum,
    TopK,
    Variance,
    WeightedMean,
)
from stormline.core.aggregate import Aggregation
from stormline.core.errors import StateError


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (Count(), 4),
        (Count(where="human"), 3),
        (Count("fee"), 2),
        (Sum("price"), Decimal("80.20")),
        (Sum(worth), Decimal("130.40")),
        (Sum(lambda trade: trade.price, where=lambda trade: trade.user == "ann"), Decimal(40)),
        (Sum("fee"), Decimal("1.2")),
        (Min("user"), "ann"),
        (Max("day"), date(2026, 1, 4)),
        (Range("price"), Decimal(20)),
        (Range("day"), timedelta(days=3)),
        (Mean("price"), Decimal("20.05")),
        (Mean("quantity"), 1.75),
        (WeightedMean("price", "quantity"), Decimal("130.40") / 7),
        (WeightedMean("price", "fee"), Decimal("19.07") / Decimal("1.2")),
        (Variance("quantity"), 11 / 12),
        (Variance("quantity", population=True), 0.6875),
        (StdDev("price", population=True), Decimal("50.00250").sqrt()),
        (AnyTrue("human"), True),
        (AllTrue(lambda trade: trade.quantity > 1), False),
        (Histogram("price", [10, 20.5]), (0, 3, 1)),
        (First("price"), Decimal(10)),
        (Last("fee"), Decimal("0.7")),
        (First(), DAY[1][0]),
        (Concat("user"), "ann, ann, bob, cem"),
        (Concat("user", separator="+", limit=2), "ann+ann+(2 more)"),
        (Distinct("price"), 3),
        (Quantiles("price", [0, 0.5, 1]), [Decimal(10), Decimal("20.1"), Decimal(30)]),
        (Quantiles("quantity", [0.75]), [2]),
    ],
    ids=repr,
)
def test_each_says_of_four_trades(aggregate: Any, expected: Any) -> None:
    """
    In the order of event time, whatever came first; None is passed over; the type is that of the values.
    """
    found = result({"it": aggregate}, DAY).it

    assert (expected, type(expected)) == (found, type(found))


def test_what_is_bounded_says_what_is_missing() -> None:
    """
    How many more there were, or how far the counts may be off.
    """
    found = result({"users": Collect("user", limit=3), "top": TopK("user", 1), "rough": TopK("user", 1, limit=1)}, DAY)

    assert (["ann", "ann", "bob"], 1) == (found.users.values, found.users.omitted)
    assert ([("ann", 2)], 0) == (found.top.values, found.top.error)
    assert ([("ann", 1)], 1) == (found.rough.values, found.rough.error)


def test_what_came_of_one_record_stays_in_its_order() -> None:
    """
    Records of one place: those that a function made of one, or that have no origin.
    """
    rows = [(trade(0, price)[0], (0, "", 0)) for price in (3, 1, 2)]
    found = result({"first": First("price"), "last": Last("price"), "all": Collect("price"), "n": Count()}, rows)

    assert (3, 2, [3, 1, 2]) == (found.first, found.last, found.all.values)


NONE = {
    "n": Count(where="human"),
    "sum": Sum("fee"),
    "range": Range("fee"),
    "mean": Mean("fee"),
    "weighted": WeightedMean("price", "fee"),
    "variance": Variance("fee"),
    "any": AnyTrue("human", where="human"),
    "first": First("fee"),
    "concat": Concat("user", where="human"),
    "quantiles": Quantiles("fee", [0.5]),
    "distinct": Distinct("fee"),
}


def test_of_no_value_there_is_no_result() -> None:
    """
    Records without the value, or of which the condition does not hold: None, and 0 for what is counted.
    """
    found = msgspec.structs.asdict(result(NONE, [trade(0, 1, human=False)]))

    assert dict.fromkeys(NONE) | {"n": 0, "distinct": 0} == found


@settings(deadline=None)
@given(st.lists(decimals, min_size=2))
def test_the_variance_of_decimals_is_exact(prices: list[Decimal]) -> None:
    """
    The fraction that whole numbers give, rounded once to 28 digits; its root is as exact.
    """
    found = result({"v": Variance("price"), "s": StdDev("price")}, [trade(0, price) for price in prices])
    exact = [Fraction(price) for price in prices]
    mean = sum(exact) / len(exact)
    variance = sum((price - mean) ** 2 for price in exact) / (len(exact) - 1)
    half, half_of_root = (Fraction(Decimal(10) ** (x.adjusted() - 27)) / 2 for x in (found.v, found.s))

    assert abs(Fraction(found.v) - variance) <= half
    assert max(Fraction(found.s) - half_of_root, 0) ** 2 <= variance <= (Fraction(found.s) + half_of_root) ** 2


def test_ints_of_any_size_are_exact() -> None:
    """
    Beyond 64 bits nothing overflows, in memory, in Redis, and in a result that no float could hold.
    """
    huge = 10**400
    aggregation = Aggregation({"sum": Sum("quantity"), "mean": Mean("quantity"), "var": Variance("quantity")}, Trade)
    state = None
    for quantity in (huge, 2**64, -huge, 2**64):
        state = aggregation.add(state, trade(0, 1, quantity=quantity)[0])
    assert state is not None
    back = aggregation.read(None, aggregation.write_states({"k": state})["k"])

    assert state == back
    assert (2**65, 2**63) == (aggregation.result(back).sum, aggregation.result(back).mean)
    assert aggregation.result(back).var is None


def test_a_result_whose_state_is_lost_is_not_gone_on_with() -> None:
    """
    A mean without its count and sum says nothing of the records behind it.
    """
    aggregation = Aggregation({"mean": Mean("price")}, Trade)
    shown = aggregation.write_results({"k": aggregation.add(None, DAY[0][0])})["k"]

    with pytest.raises(StateError, match="without the state"):
        aggregation.read(shown, None)


def test_four_methods_are_an_aggregate() -> None:
    """
    Beside ours, with `value` and `where` if it has them.
    """

    class LongestMachine(Longest):
        where = staticmethod(lambda trade: not trade.human)

    rows = [*DAY, trade(4, 1, "dora")]
    assert "dora" == result({"it": Longest(), "n": Count()}, rows).it
    assert "bob" == result({"it": LongestMachine()}, rows).it


def test_one_function_may_be_read_as_numbers_and_as_truth() -> None:
    """
    Each aggregate gets what it works on.
    """

    def many(trade: Any) -> Any:
        return trade.quantity

    found = result({"sum": Sum(many), "any": AnyTrue(many)}, DAY[:1])
    assert (3, True) == (found.sum, found.any)
    assert type(found.any) is bool
