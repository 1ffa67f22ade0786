"""A record that an aggregate cannot take breaks when it comes, not when Redis is written or, after a crash, read."""

import sys
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from core.aggregates import DAY, Row, Trade, result, trade

from stormline import Count, Last, Mean, Min, Range, Sum, Variance
from stormline.core.aggregate import Aggregation

BROKEN = {
    "NaN": {"price": "NaN"},
    "sNaN": {"price": "sNaN"},
    "infinite": {"price": "-Infinity"},
    "float NaN": {"ratio": float("nan")},
    "float infinite": {"ratio": float("inf")},
    "float too large to sum": {"ratio": 1e300},
    "Decimals of more than 1,000 digits": {"price": "1E+2000"},
}


@pytest.mark.parametrize("fields", BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("earlier", [[], [trade(0, 1)]], ids=["the first", "a later one"])
def test_what_would_poison_a_result_breaks_its_record(fields: dict[str, Any], earlier: list[Row]) -> None:
    """
    `add` raises, so the record is dead-lettered, and the others count.
    """
    aggregation = Aggregation({"n": Count(), "price": Sum("price"), "ratio": Sum("ratio")}, Trade)
    before = aggregation.add(None, trade(0, "0.01")[0])
    record = Trade(0, 1, Decimal(fields.get("price", 1)), fields.get("ratio", 0.5), "ann", True, date(2026, 1, 1))

    with pytest.raises((ValueError, ArithmeticError)):
        aggregation.add(before, record)
    assert (1, Decimal("0.01"), 0.5) == msgspec.structs.astuple(aggregation.result(before))


def test_a_float_too_large_to_square_breaks_its_record() -> None:
    """
    Else merging two windows of finite values could give an infinite variance, with nobody to blame.
    """
    aggregation = Aggregation({"variance": Variance("ratio")}, Trade)
    with pytest.raises(ValueError, match="too large for a variance"):
        aggregation.add(None, trade(0, 1, ratio=1e141)[0])


def test_the_largest_float_has_an_order_and_no_sum() -> None:
    """
    Where nothing is summed, every finite float is taken.
    """
    row = trade(0, 1, ratio=-sys.float_info.max)
    assert -sys.float_info.max == result({"least": Min("ratio"), "last": Last("ratio")}, [row]).least


def test_merging_rounds_where_adding_would_refuse() -> None:
    """
    No record is to blame for the sum of two panes, so it is there, to 1,000 digits.
    """
    aggregation = Aggregation({"sum": Sum("price"), "mean": Mean("price"), "range": Range("price")}, Trade)
    left, right = (aggregation.add(None, trade(0, price)[0]) for price in ("1E+1100", "1E-1100"))
    found = aggregation.result(aggregation.merge(left, right))

    assert (Decimal("1E+1100"), Decimal("5E+1099")) == (found.sum, found.mean)
    assert Decimal("1E+1100") == found.range


@pytest.mark.parametrize("given", [True, "5", None, [1]], ids=repr)
def test_an_expression_that_gives_no_number_breaks_its_record(given: Any) -> None:
    """
    Only what can be told when it runs; None is no value.
    """
    aggregation = Aggregation({"sum": Sum(lambda trade: given)}, Trade)
    if given is None:
        assert aggregation.result(aggregation.add(None, DAY[0][0])).sum is None
        return
    with pytest.raises(TypeError, match="the expression gave"):
        aggregation.add(None, DAY[0][0])


@pytest.mark.parametrize(
    ("method", "gives"),
    [("add", float("nan")), ("add", {1, 2}), ("add", object()), ("result", object()), ("add", 1 << 70)],
    ids=["NaN", "another type", "no JSON", "a result that is no JSON", "fine"],
)
def test_an_own_aggregate_that_cannot_be_written_breaks_its_record(method: str, gives: Any) -> None:
    """
    It is found when the record comes, not when Redis is written or, after a crash, read.
    """

    class Odd:
        def create(self) -> float | int:
            return 0

        def add(self, accumulator: Any, value: Any) -> Any:
            return gives if method == "add" else 1

        def merge(self, left: Any, right: Any) -> Any:
            return left

        def result(self, accumulator: Any) -> Any:
            return gives if method == "result" and accumulator else accumulator

    aggregation = Aggregation({"odd": Odd(), "n": Count()}, Trade)
    if gives == 1 << 70:
        assert 1 << 70 == aggregation.result(aggregation.add(None, DAY[0][0])).odd
        return
    with pytest.raises((TypeError, msgspec.ValidationError)):
        aggregation.add(None, DAY[0][0])
