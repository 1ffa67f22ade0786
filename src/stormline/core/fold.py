"""What an aggregate is: a fold in four methods. Ours also tell what they read and of which types they are."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from stormline.core.reading import ANYTHING, Kind, Reading, Value, Where, finite, said, shape_faults

EXACT = decimal.Context(
    prec=1000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact, decimal.InvalidOperation]
)
"""Adds Decimals without ever rounding; 1,000 digits hold every sum of amounts that fits into memory."""

ROUNDED = decimal.Context(prec=1000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])
"""For what must not raise: where EXACT would, it rounds to 1,000 digits."""

MEAN_DIGITS = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
"""A quotient of Decimals is the exact one rounded once, to 28 significant digits."""

LARGEST_FLOAT = 1e290
"""No sum of 10^18 smaller floats is infinite."""

Place = tuple[int, str, int]
"""Event time in ms, partition, offset: the order of records that does not depend on when they arrive."""


class Aggregate(Protocol):
    """A fold over the values of a window; a class with these four methods is one.

    Laws: `create()` changes nothing when it is merged; `merge` is associative, and its order does not matter; merging
    agrees with adding; no method changes its arguments. `stormline.testing.aggregate_laws` tries them.

    An accumulator is written to Redis as JSON and read back, so `create` has a return annotation that msgspec can read,
    such as `tuple[int, Decimal]`. Two attributes are looked for: `value`, a field or a function of the record (without
    it, `add` gets the record), and `where`, a bool field or a function of the record.
    """

    def create(self) -> Any:
        """The accumulator of no record."""

    def add(self, accumulator: Any, value: Any) -> Any:
        """The accumulator with one more value; the one that came stays as it was."""

    def merge(self, left: Any, right: Any) -> Any:
        """The accumulator of both; the two stay as they were."""

    def result(self, accumulator: Any) -> Any:
        """What is shown: something JSON can hold."""


class Fold:
    """Base of the aggregates that come with the framework."""

    kind: ClassVar[Kind] = ANYTHING
    """What its value may be."""
    result_is_state: ClassVar[bool] = False
    """The result alone lets the fold go on, so Redis needs no accumulator beside it."""
    ordered: ClassVar[bool] = False
    """It asks which record came before which: `add_at` has the place of each."""
    parts: tuple[Fold, ...] = ()
    """The folds it is made of, if it is: its accumulator has one of each. Others like them are folded only once."""

    def __init__(self, value: Value = None, *, where: Where = None, **options: Any) -> None:
        self.value = value
        self.where = where
        self.options = options

    def __repr__(self) -> str:
        arguments = [said_argument(self.value)] if self.value is not None else []
        arguments += [f"{name}={said_argument(option)}" for name, option in self.options.items()]
        arguments += [f"where={said_argument(self.where)}"] if self.where is not None else []
        return f"{type(self).__name__}({', '.join(arguments)})"

    @property
    def readings(self) -> list[tuple[Value, Kind]]:
        """The values it reads, and what they may be."""
        return [(self.value, self.kind)]

    def faults(self) -> list[str]:
        """What is wrong with its settings, each as the rest of "the aggregate total …"."""
        return shape_faults(self.value, self.where)

    def identity(self, reading: Reading) -> tuple[Any, ...]:
        """Folds of one identity have equal accumulators."""
        return (type(self), self.value, self.where, *self.options.values())

    def result_type(self, hint: Any) -> Any:
        """The type of the result, given the type of the value."""
        return hint | None

    def state_type(self, hint: Any) -> Any:
        """The type of the accumulator, given the type of the value."""
        return self.result_type(hint)

    def create(self) -> Any:
        return None

    def add(self, accumulator: Any, value: Any) -> Any:
        raise NotImplementedError

    def add_at(self, accumulator: Any, value: Any, place: Place) -> Any:
        raise NotImplementedError

    def merge(self, left: Any, right: Any) -> Any:
        raise NotImplementedError

    def result(self, accumulator: Any) -> Any:
        return accumulator


class OfValue(Fold):
    """Base of those that need a value; the whole record is none for them."""

    def __init__(self, value: Value, *, where: Where = None, **options: Any) -> None:
        super().__init__(value, where=where, **options)

    def faults(self) -> list[str]:
        missing = ["needs a field or a function of the record"] if self.value is None else []
        return missing + super().faults()


class Composed(OfValue):
    """An aggregate whose result is told by other folds."""

    def state_type(self, hint: Any) -> Any:
        return tuple[tuple(part.state_type(hint) for part in self.parts)]  # type: ignore[misc]

    def create(self) -> tuple[Any, ...]:
        return tuple(part.create() for part in self.parts)

    def add(self, accumulator: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return tuple(part.add(each, value) for part, each in zip(self.parts, accumulator, strict=True))

    def merge(self, left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(part.merge(a, b) for part, a, b in zip(self.parts, left, right, strict=True))


def said_argument(value: Any) -> str:
    return said(value) if callable(value) else repr(value)


def plus(left: Any, right: Any) -> Any:
    """The exact sum of ints or Decimals; of floats the sum.

    Raises:
        decimal.Inexact: a sum of Decimals has more than 1,000 digits.
    """
    return EXACT.add(left, right) if isinstance(left, Decimal) or isinstance(right, Decimal) else left + right


def both(left: Any, right: Any) -> Any:
    """The sum of two sums. No single record is at fault for it, so it rounds to 1,000 digits where `plus` raises."""
    try:
        return plus(left, right)
    except decimal.Inexact:
        return ROUNDED.add(left, right)


def summable(value: Any) -> Any:
    """The value itself.

    Raises:
        ValueError: it is NaN, infinite, or a float so large that sums of it could be.
    """
    if isinstance(value, float) and not -LARGEST_FLOAT < value < LARGEST_FLOAT:
        raise ValueError(f"{value} cannot be summed")
    return finite(value)


def either(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """The function of two accumulators, where None is that of no record."""
    return left if right is None else right if left is None else function(left, right)


def positive(**numbers: Any) -> Iterable[str]:
    """A fault for each option that is no whole number above 0."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
            yield f"has {name} = {number!r}; give a whole number above 0"
