"""Aggregates that describe how values are spread: variance, standard deviation, histogram."""

from __future__ import annotations

import decimal
import math
import operator
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from stormline.core.arithmetic import quotient, quotient_type
from stormline.core.fold import EXACT, MEAN_DIGITS, ROUNDED, Composed, OfValue, both, either, plus
from stormline.core.reading import NUMBERS, NUMERIC, Value, Where

LARGEST_SQUARED = 1e140
"""No sum of squares of smaller floats overflows."""

ROOT_DIGITS = decimal.Context(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
"""So many more digits than the root shows, that it is rounded once."""

Moments = tuple[int, Any, Any] | None
"""Of ints and Decimals: their number, their sum, the sum of their squares; exact. Of floats: their number, their mean,
the sum of the squared distances from it (Welford 1962; merged as in Chan, Golub and LeVeque 1979)."""


class _Moments(OfValue):
    kind = NUMERIC

    def state_type(self, hint: Any) -> Any:
        return tuple[int, hint, hint] | None  # a union lets each be of the type that the values had

    def add(self, accumulator: Moments, value: Any) -> Any:
        if isinstance(value, float):
            if not -LARGEST_SQUARED < value < LARGEST_SQUARED:
                raise ValueError(f"{value} is too large for a variance of floats")
            return self.merge(accumulator, (1, value, 0.0))
        square = EXACT.multiply(value, value) if isinstance(value, Decimal) else value * value
        if accumulator is None or isinstance(accumulator[1], float):
            return self.merge(accumulator, (1, value, square))
        return (accumulator[0] + 1, plus(accumulator[1], value), plus(accumulator[2], square))

    def merge(self, left: Moments, right: Moments) -> Any:
        return either(_merged, left, right)


def _merged(left: tuple[int, Any, Any], right: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
    if not isinstance(left[1], float) and not isinstance(right[1], float):
        return (left[0] + right[0], both(left[1], right[1]), both(left[2], right[2]))
    n_left, mean_left, squares_left = _of_floats(left)
    n_right, mean_right, squares_right = _of_floats(right)
    count, distance = n_left + n_right, mean_right - mean_left
    return (
        count,
        mean_left + distance * n_right / count,
        squares_left + squares_right + distance * distance * n_left * n_right / count,
    )


def _of_floats(moments: tuple[int, Any, Any]) -> tuple[int, float, float]:
    count, total, squares = moments
    if isinstance(total, float):
        return (count, total, squares)
    if isinstance(total, Decimal):
        raise TypeError("floats and Decimals cannot be mixed")
    return (count, total / count, (count * squares - total * total) / count)


class Variance(Composed):
    """The variance of a sample (divided by n - 1; None below two values) or, if asked for, of a population (by n).

    Of ints and Decimals from exact sums, rounded once; of floats in one pass that is numerically stable. None where no
    float can hold it.
    """

    kind = NUMERIC

    def __init__(self, value: Value, *, population: bool = False, where: Where = None) -> None:
        super().__init__(value, where=where, **({"population": True} if population else {}))
        self.population = population
        self.parts = (_Moments(value, where=where),)

    def result_type(self, hint: Any) -> Any:
        return quotient_type(hint)

    def result(self, accumulator: tuple[Moments]) -> Any:
        fraction = self._fraction(accumulator[0])
        return None if fraction is None else quotient(*fraction)

    def _fraction(self, moments: Moments) -> tuple[Any, int] | None:
        """The variance as a quotient, exact for ints and Decimals."""
        if moments is None:
            return None
        count, total, squares = moments
        divisor = count if self.population else count - 1
        if divisor == 0:
            return None
        if isinstance(total, float):
            return (squares, divisor)
        if isinstance(total, Decimal):
            return (ROUNDED.subtract(ROUNDED.multiply(count, squares), ROUNDED.multiply(total, total)), count * divisor)
        return (count * squares - total * total, count * divisor)


class StdDev(Variance):
    """The standard deviation: the square root of `Variance`."""

    def result(self, accumulator: tuple[Moments]) -> Any:
        fraction = self._fraction(accumulator[0])
        if fraction is None:
            return None
        if isinstance(fraction[0], Decimal):
            return MEAN_DIGITS.sqrt(ROOT_DIGITS.divide(*fraction))
        variance = quotient(*fraction)
        return None if variance is None else math.sqrt(variance)


class Histogram(OfValue):
    """How many values lie between bounds: n bounds make n + 1 counts, of which the first is below the first bound, the
    last from the last bound on, and the others in [bound, next bound)."""

    kind = NUMERIC
    result_is_state = True

    def __init__(self, value: Value, bounds: Sequence[int | float | Decimal], *, where: Where = None) -> None:
        listed = tuple(bounds) if isinstance(bounds, Sequence) else bounds
        super().__init__(value, where=where, bounds=listed)
        self.bounds = listed

    def faults(self) -> list[str]:
        return super().faults() + self._bounds_faults()

    def _bounds_faults(self) -> list[str]:
        bounds = self.bounds
        if not isinstance(bounds, tuple) or not bounds or not all(type(bound) in NUMBERS for bound in bounds):
            return [f"has bounds = {bounds!r}; give a list of numbers"]
        if not all(a < b for a, b in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
            return [f"has bounds = {list(bounds)}; give each bound once, ascending"]
        return []

    def result_type(self, hint: Any) -> Any:
        return tuple[int, ...]

    def create(self) -> tuple[int, ...]:
        return (0,) * (len(self.bounds) + 1)

    def add(self, accumulator: tuple[int, ...], value: Any) -> tuple[int, ...]:
        at = bisect_right(self.bounds, value)
        return (*accumulator[:at], accumulator[at] + 1, *accumulator[at + 1 :])

    def merge(self, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(operator.add, left, right))
