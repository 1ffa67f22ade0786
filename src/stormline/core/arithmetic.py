"""Aggregates that are a number or two: count, sum, least, greatest, means, whether any or all."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from stormline.core.fold import EXACT, MEAN_DIGITS, Composed, Fold, OfValue, both, either, plus, summable
from stormline.core.reading import (
    NUMERIC,
    ORDERED,
    TRUTHS,
    Kind,
    Number,
    Reading,
    Value,
    Where,
    finite,
    members,
    shape_faults,
)


class Count(Fold):
    """How many records; of a value: how many that have it, so that None does not count."""

    result_is_state = True

    def identity(self, reading: Reading) -> tuple[Any, ...]:
        """Records are counted the same whatever is read of them, unless it may be None."""
        counted = self.value if reading.optional and self.value is not None else None
        return (Count, counted, self.where)

    def result_type(self, hint: Any) -> Any:
        return int

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: Any) -> int:
        return accumulator + 1

    def merge(self, left: int, right: int) -> int:
        return left + right


class Sum(OfValue):
    """The sum, exact for int and Decimal."""

    kind = NUMERIC
    result_is_state = True

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None else plus(accumulator, value)

    def merge(self, left: Any, right: Any) -> Any:
        return either(both, left, right)


class Min(OfValue):
    """The smallest value."""

    kind = ORDERED
    result_is_state = True

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None or value < accumulator else accumulator

    def merge(self, left: Any, right: Any) -> Any:
        return either(self.add, left, right)


class Max(OfValue):
    """The largest value."""

    kind = ORDERED
    result_is_state = True

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None or value > accumulator else accumulator

    def merge(self, left: Any, right: Any) -> Any:
        return either(self.add, left, right)


class Range(Composed):
    """The largest value less the smallest; of times a duration."""

    kind = Kind("numbers or times", frozenset({int, float, Decimal, datetime.date, datetime.datetime}), NUMERIC.assumed)

    def __init__(self, value: Value, *, where: Where = None) -> None:
        super().__init__(value, where=where)
        self.parts = (Min(value, where=where), Max(value, where=where))

    def result_type(self, hint: Any) -> Any:
        return datetime.timedelta | None if members(hint) <= {datetime.date, datetime.datetime} else hint | None

    def result(self, accumulator: tuple[Any, Any]) -> Any:
        least, most = accumulator
        return None if least is None else _difference(most, least)


class Mean(Composed):
    """The arithmetic mean: exact sum by count, a Decimal rounded once to 28 significant digits."""

    kind = NUMERIC

    def __init__(self, value: Value, *, where: Where = None) -> None:
        super().__init__(value, where=where)
        self.parts = (Count(value, where=where), Sum(value, where=where))

    def result_type(self, hint: Any) -> Any:
        return quotient_type(hint)

    def result(self, accumulator: tuple[int, Any]) -> Any:
        count, total = accumulator
        return None if total is None else quotient(total, count)


class WeightedMean(OfValue):
    """The mean of a value by a weight: the sum of their products by the sum of the weights; None if that is 0.

    A record without the value or without the weight is passed over.
    """

    kind = NUMERIC

    def __init__(self, value: Value, weight: Value, *, where: Where = None) -> None:
        super().__init__(value, where=where, weight=weight)
        self.weight = weight

    @property
    def readings(self) -> list[tuple[Value, Kind]]:
        return [(self.value, NUMERIC), (self.weight, NUMERIC)]

    def faults(self) -> list[str]:
        missing = ["needs a field or a function of the record as weight"] if self.weight is None else []
        return super().faults() + missing + shape_faults(self.weight, None)

    def result_type(self, hint: Any) -> Any:
        return float | Decimal | None

    def state_type(self, hint: Any) -> Any:
        return tuple[Number, Number] | None

    def add(self, accumulator: tuple[Any, Any] | None, value: tuple[Any, Any]) -> Any:
        number, weight = value
        if number is None or weight is None:
            return accumulator
        exact = isinstance(number, Decimal) or isinstance(weight, Decimal)
        product = EXACT.multiply(number, weight) if exact else summable(number * weight)
        return either(_pairwise(plus), accumulator, (product, weight))

    def merge(self, left: tuple[Any, Any] | None, right: tuple[Any, Any] | None) -> Any:
        return either(_pairwise(both), left, right)

    def result(self, accumulator: tuple[Any, Any] | None) -> Any:
        return None if accumulator is None or not accumulator[1] else quotient(*accumulator)


class AnyTrue(OfValue):
    """Whether it was true for any record."""

    kind = TRUTHS
    result_is_state = True

    def add(self, accumulator: bool | None, value: bool) -> bool:
        return bool(accumulator) or value

    def merge(self, left: bool | None, right: bool | None) -> Any:
        return either(lambda a, b: a or b, left, right)


class AllTrue(OfValue):
    """Whether it was true for all records."""

    kind = TRUTHS
    result_is_state = True

    def add(self, accumulator: bool | None, value: bool) -> bool:
        return accumulator is not False and value

    def merge(self, left: bool | None, right: bool | None) -> Any:
        return either(lambda a, b: a and b, left, right)


def quotient_type(hint: Any) -> Any:
    """The type of a quotient of such numbers, or None."""
    exact = Decimal in members(hint)
    return Decimal | None if members(hint) == {Decimal} else float | Decimal | None if exact else float | None


def quotient(total: Any, count: Any) -> Any:
    """The exact quotient rounded once: a Decimal to 28 significant digits, else a float. None where none holds it."""
    try:
        if isinstance(total, Decimal):
            return MEAN_DIGITS.divide(total, count)
        return finite(total / count)
    except (ArithmeticError, ValueError):
        return None


def _pairwise(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], tuple[Any, Any]]:
    return lambda left, right: (function(left[0], right[0]), function(left[1], right[1]))


def _difference(most: Any, least: Any) -> Any:
    """Exact for ints and Decimals; never raises, since a result is asked for long after the record came."""
    try:
        if isinstance(most, float) or isinstance(least, float):
            return finite(float(most) - float(least))
        return EXACT.subtract(most, least) if isinstance(most, Decimal) else most - least
    except decimal.Inexact:
        return MEAN_DIGITS.subtract(most, least)
    except (ArithmeticError, ValueError):
        return None
