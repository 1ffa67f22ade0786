"""Aggregates that cannot work are refused before anything starts, all faults at once."""

import sys
from typing import Any

import pytest
from core.aggregates import Longest, Trade

from stormline import (
    AnyTrue,
    Collect,
    Concat,
    Count,
    Distinct,
    Histogram,
    Last,
    Max,
    Mean,
    Min,
    Quantiles,
    StdDev,
    Sum,
    TopK,
    Variance,
    WeightedMean,
)
from stormline.core.aggregate import Aggregation, aggregate_faults


def untyped(trade):  # type: ignore[no-untyped-def]
    return trade.quantity


def text(trade: Trade) -> str:
    return trade.user


class WithoutType(Longest):
    def create(self):  # type: ignore[no-untyped-def]
        return ""


class WithoutMerge:
    create = add = result = Longest.create


FAULTS: dict[str, tuple[Any, str]] = {
    "no field": (Sum("prise"), "reads the field 'prise'; Trade has at_ms, quantity, price"),
    "sum of texts": (Sum("user"), "works on numbers, and the field 'user' is str"),
    "mean of texts": (Mean("user"), "works on numbers, and the field 'user' is str"),
    "variance of texts": (Variance(text), "works on numbers, and core.aggregates.text is str"),
    "sum of truths": (Sum("human"), "works on numbers, and the field 'human' is bool"),
    "no order": (Min(lambda trade: None, where="nobody"), "has where = 'nobody'; Trade has"),
    "where is no truth": (Count(where="user"), "has where = 'user', which is str; give a field of type bool"),
    "where is a number": (Count(where=5), "has where = 5; give the name of a bool field or a function"),  # type: ignore[arg-type]
    "value is a number": (Sum(5), "reads 5; give the name of a field or a function"),  # type: ignore[arg-type]
    "no value": (Max(None), "needs a field or a function of the record"),
    "no type": (Last(untyped), "whose type is not known; write it as a function with a return annotation"),
    "any of texts": (AnyTrue("user"), "works on true and false, and the field 'user' is str"),
    "concat of numbers": (Concat("price"), "works on texts, and the field 'price' is Decimal"),
    "no weight": (WeightedMean("price", "user"), "works on numbers, and the field 'user' is str"),
    "limit": (Collect("user", limit=0), "has limit = 0; give a whole number above 0"),
    "limit of concat": (Concat("user", limit=-1), "has limit = -1; give a whole number above 0"),
    "limit of distinct": (Distinct("user", limit=0), "has limit = 0; give a whole number above 0"),
    "k": (TopK("user", 0), "has k = 0; give a whole number above 0"),
    "k above limit": (TopK("user", 10, limit=5), "has limit = 5, less than k = 10"),
    "bounds descend": (Histogram("price", [3, 1]), "has bounds = [3, 1]; give each bound once, ascending"),
    "bounds repeat": (Histogram("price", [1, 1]), "give each bound once, ascending"),
    "NaN is a bound": (Histogram("price", [float("nan")]), "give each bound once, ascending"),
    "no bounds": (Histogram("price", []), "has bounds = (); give a list of numbers"),
    "texts as bounds": (Histogram("price", ["a"]), "give a list of numbers"),  # type: ignore[list-item]
    "quantile above 1": (Quantiles("price", [0.5, 99]), "asks for the quantile 99; give a number from 0 to 1"),
    "no quantile": (Quantiles("price", []), "give a list such as [0.5, 0.99]"),
    "a class": (Count, "is the class Count; make one of it: Count(...)"),
    "no aggregate": (5, "is 5, which has no create, add, merge, result"),
    "no merge": (WithoutMerge(), "which has no merge"),
    "own without type": (WithoutType(), "has a WithoutType.create without a return annotation"),
}


@pytest.mark.parametrize(("aggregate", "told"), FAULTS.values(), ids=list(FAULTS))
def test_what_cannot_work_is_told_before_anything_starts(aggregate: Any, told: str) -> None:
    """
    The message has the aggregate's name, what came, and what to write.
    """
    with pytest.raises(ValueError, match="the aggregate mine ") as caught:
        Aggregation({"mine": aggregate}, Trade)
    assert told.replace("core.aggregates", __name__) in str(caught.value)


@pytest.mark.parametrize("name", ["1st", "class", "_x", "a b", "", "key", "start", "revision", "window", "id", 5])
def test_a_name_that_would_not_read_well_is_refused(name: Any) -> None:
    """
    It has to be an attribute, and must not hide what a row of results says besides.
    """
    assert [True] == ["needs a" in fault for fault in aggregate_faults({name: Count()})]


def test_two_names_that_python_reads_as_one_are_refused() -> None:
    """
    The ligature is the same identifier as its letters.
    """
    assert "have one name" in aggregate_faults({"ﬁrst": Count(), "first": Count()})[0]


def test_all_faults_are_told_at_once() -> None:
    """
    Those that need the schema, and, when the class is made, all others.
    """
    wrong = {"key": Count(), "a": Sum("user"), "b": Quantiles("prise", [2, 3]), "c": Collect(limit=0)}

    with pytest.raises(ValueError, match="key") as caught:
        Aggregation(wrong, Trade)
    assert 6 == len(str(caught.value).splitlines())
    assert 4 == len(aggregate_faults(wrong))


def test_without_the_package_a_sketch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What to install is said before anything starts; what is exact works without.
    """
    monkeypatch.setitem(sys.modules, "datasketches", None)
    faults = aggregate_faults({"a": Quantiles("price", [0.5]), "b": Distinct("user")})

    assert 2 == len(faults)
    assert all(f"{sys.executable} -m pip install datasketches" in fault for fault in faults)
    assert [] == aggregate_faults({"b": Distinct("user", limit=None), "c": TopK("user"), "d": StdDev("price")})
