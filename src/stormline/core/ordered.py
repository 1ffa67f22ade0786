"""Aggregates that ask which record came before which: first, last, collect, concat.

The order is that of (event time, partition, offset), not of arrival, so a replay in another order changes nothing.
Records without an origin (behind a stock component) of one time are in the order of arrival.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import Any

import msgspec

from stormline.core.fold import Fold, OfValue, Place, either, positive
from stormline.core.reading import TEXTS, Value, Where

_place = itemgetter(0)
_value = itemgetter(1)

Placed = tuple[Place, Any]


class _Ordered(Fold):
    ordered = True

    def state_type(self, hint: Any) -> Any:
        return tuple[Place, hint] | None

    def result(self, accumulator: Placed | None) -> Any:
        return None if accumulator is None else accumulator[1]


class First(_Ordered):
    """The value of the earliest record that has it; without a value, the record."""

    def add_at(self, accumulator: Placed | None, value: Any, place: Place) -> Placed:
        return (place, value) if accumulator is None or place < accumulator[0] else accumulator

    def merge(self, left: Placed | None, right: Placed | None) -> Any:
        return either(lambda a, b: b if b[0] < a[0] else a, left, right)


class Last(_Ordered):
    """The value of the latest record that has it; without a value, the record."""

    def add_at(self, accumulator: Placed | None, value: Any, place: Place) -> Placed:
        return (place, value) if accumulator is None or place >= accumulator[0] else accumulator

    def merge(self, left: Placed | None, right: Placed | None) -> Any:
        return either(lambda a, b: b if b[0] >= a[0] else a, left, right)


class Collected(msgspec.Struct, frozen=True):
    """The result of `Collect`."""

    values: list[Any]
    """The earliest, in order."""
    omitted: int
    """How many more there were."""


Kept = tuple[int, tuple[Placed, ...]]
"""How many there were, and the earliest of them."""


class Collect(Fold):
    """The values of the earliest records, at most `limit`, in order; without a value, the records. A `Collected`."""

    ordered = True

    def __init__(self, value: Value = None, *, limit: int = 100, where: Where = None) -> None:
        super().__init__(value, where=where, limit=limit)
        self.limit = limit

    def faults(self) -> list[str]:
        return [*super().faults(), *positive(limit=self.limit)]

    def result_type(self, hint: Any) -> Any:
        return Collected

    def state_type(self, hint: Any) -> Any:
        return tuple[int, tuple[tuple[Place, hint], ...]]

    def create(self) -> Kept:
        return (0, ())

    def add_at(self, accumulator: Kept, value: Any, place: Place) -> Kept:
        count, kept = accumulator
        if len(kept) == self.limit and place >= kept[-1][0]:
            return (count + 1, kept)
        at = bisect_right(kept, place, key=_place)
        return (count + 1, (*kept[:at], (place, value), *kept[at : self.limit - 1]))

    def merge(self, left: Kept, right: Kept) -> Kept:
        return (left[0] + right[0], tuple(sorted(left[1] + right[1], key=_place))[: self.limit])

    def result(self, accumulator: Kept) -> Any:
        count, kept = accumulator
        return Collected(list(map(_value, kept)), count - len(kept))


class Concat(Collect, OfValue):
    """The texts of the earliest records, joined in order; behind them, if there were more than `limit`, how many:
    "a, b, (7 more)"."""

    kind = TEXTS

    def __init__(self, value: Value, *, separator: str = ", ", limit: int = 100, where: Where = None) -> None:
        super().__init__(value, limit=limit, where=where)
        self.options = {"separator": separator, **self.options}
        self.separator = separator

    def faults(self) -> list[str]:
        faults = super().faults()
        if not isinstance(self.separator, str):
            faults.append(f"has separator = {self.separator!r}; give a text")
        return faults

    def result_type(self, hint: Any) -> Any:
        return str | None

    def result(self, accumulator: Kept) -> Any:
        count, kept = accumulator
        if count == 0:
            return None
        more = [f"({count - len(kept)} more)"] if count > len(kept) else []
        return self.separator.join([*map(_value, kept), *more])
