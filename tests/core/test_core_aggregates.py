"""What aggregates are, what they refuse, and what each of them says of a few records."""

import re
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from core.aggregates import Row, Trade, decimals, result, worth
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
from stormline.core.aggregate import Aggregation, aggregate_faults
from stormline.core.errors import StateError
from stormline.core.own import said_aggregate


def trade(at_ms: int, price: Any, user: str = "ann", **fields: Any) -> Row:
    values = {"quantity": 1, "ratio": 0.5, "human": True, "day": date(2026, 1, 1 + at_ms), **fields}
    return Trade(at_ms, price=Decimal(price), user=user, **values), (at_ms, "p", at_ms)


DAY = [
    trade(2, "20.10", "bob", quantity=3, human=False),
    trade(0, "10", "ann", quantity=2, fee=Decimal("0.5")),
    trade(1, "30", "ann"),
    trade(3, "20.10", "cem", fee=Decimal("0.7")),
]
"""Four trades, the third of the day arrived first."""


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


def test_a_result_whose_state_is_lost_is_not_gone_on_with() -> None:
    """
    A mean without its count and sum says nothing of the records behind it.
    """
    aggregation = Aggregation({"mean": Mean("price")}, Trade)
    shown = aggregation.write_results({"k": aggregation.add(None, DAY[0][0])})["k"]

    with pytest.raises(StateError, match="without the state"):
        aggregation.read(shown, None)


def untyped(trade):  # type: ignore[no-untyped-def]
    return trade.quantity


def text(trade: Trade) -> str:
    return trade.user


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


class Longest:
    """An aggregate of a user's own: the longest text, of equally long ones the first in the alphabet."""

    value = "user"

    def create(self) -> str:
        return ""

    def add(self, accumulator: str, value: str) -> str:
        return max(accumulator, value, key=lambda text: (len(text), [-ord(letter) for letter in text]))

    def merge(self, left: str, right: str) -> str:
        return self.add(left, right)

    def result(self, accumulator: str) -> str:
        return accumulator


def test_four_methods_are_an_aggregate() -> None:
    """
    Beside ours, with `value` and `where` if it has them.
    """

    class LongestMachine(Longest):
        where = staticmethod(lambda trade: not trade.human)

    rows = [*DAY, trade(4, 1, "dora")]
    assert "dora" == result({"it": Longest(), "n": Count()}, rows).it
    assert "bob" == result({"it": LongestMachine()}, rows).it


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


SHOWN: list[tuple[Any, str]] = [
    (Count(), "Count()"),
    (Sum("price"), "Sum('price')"),
    (Sum(worth, where="human"), "Sum(core.aggregates.worth, where='human')"),
    (Quantiles("price", [0.5]), "Quantiles('price', fractions=(0.5,))"),
    (StdDev("price", population=True), "StdDev('price', population=True)"),
    (Longest(), f"{__name__}.Longest(value='user')"),
]


@pytest.mark.parametrize(("aggregate", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_an_aggregate_is_told_in_full(aggregate: Any, shown: str) -> None:
    """
    The fingerprint of a topology is made of it.
    """
    assert shown == said_aggregate(aggregate)


def test_a_lambda_is_told_by_its_code() -> None:
    """
    The same in each process, another if the code is another.
    """
    code = "from stormline import Sum; print(Sum(lambda t: t.a * 2), Sum(lambda t: t.a * 3), Sum(lambda t: t.b * 2))"
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }

    assert 1 == len(runs)
    assert 3 == len(set(re.findall(r"<lambda (\w+)>", runs.pop())))


def test_one_function_may_be_read_as_numbers_and_as_truth() -> None:
    """
    Each aggregate gets what it works on.
    """

    def many(trade: Any) -> Any:
        return trade.quantity

    found = result({"sum": Sum(many), "any": AnyTrue(many)}, DAY[:1])
    assert (3, True) == (found.sum, found.any)
    assert type(found.any) is bool
