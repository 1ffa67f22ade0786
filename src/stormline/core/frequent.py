"""The most frequent values: exact counts of so many values, and beyond that counts whose error is known."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from stormline.core.fold import EXACT, OfValue, positive
from stormline.core.reading import ANYTHING, Value, Where

WAITING = 64
"""Values that wait to be counted together: a copy of all counts for each of them would take ten times as long."""

_encode = msgspec.json.Encoder(order="deterministic", decimal_format="string").encode


def canonical(value: Any) -> str:
    """The JSON of a value, one text for values that are equal and of one type: 1.10 and 1.1, -0.0 and 0.0, one moment
    in two time zones."""
    if isinstance(value, Decimal):
        value = EXACT.normalize(EXACT.plus(value))
        if 0 < value.as_tuple().exponent <= 28:
            value = value.quantize(1, context=EXACT)
    elif isinstance(value, float):
        value += 0.0
    elif isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return _encode(value).decode()


class Frequent(msgspec.Struct, frozen=True):
    """The result of `TopK`."""

    values: list[tuple[Any, int]]
    """Values and how often they were there, the most frequent first, of equally frequent ones in the order of their
    texts."""
    error: int
    """0: all counts are exact. Else each value was there as often as is told, or up to so many times more; and a value
    that is not told, at most `error` times more often than the last of the list."""


Counts = tuple[dict[str, int], int, tuple[str, ...]]
"""Counts by the canonical text of a value; their error; values that wait to be counted."""


def _total(counts: dict[str, int], *more: dict[str, int] | tuple[str, ...]) -> Counter[str]:
    total = Counter(counts)
    for each in more:
        total.update(each)
    return total


class TopK(OfValue):
    """The `k` most frequent values, as a `Frequent`.

    Exact as long as there are at most `limit` different values. Beyond that it is the summary of Misra and Gries
    (1982), merged as in Agarwal et al. (2012): no count is too high, and none is too low by more than `error`, which is
    told and is at most the number of records divided by `limit`. What is kept then depends on the order of arrival.
    """

    kind = ANYTHING

    def __init__(self, value: Value, k: int = 10, *, limit: int = 1000, where: Where = None) -> None:
        super().__init__(value, where=where, k=k, limit=limit)
        self.k = k
        self.limit = limit

    def faults(self) -> list[str]:
        wrong = list(positive(k=self.k, limit=self.limit))
        if not wrong and self.limit < self.k:
            wrong = [f"has limit = {self.limit}, less than k = {self.k}"]
        return super().faults() + wrong

    def result_type(self, hint: Any) -> Any:
        return Frequent

    def state_type(self, hint: Any) -> Any:
        return tuple[dict[str, int], int, tuple[str, ...]]

    def create(self) -> Counts:
        return ({}, 0, ())

    def add(self, accumulator: Counts, value: Any) -> Counts:
        counts, error, waiting = accumulator
        waiting = (*waiting, canonical(value))
        if len(waiting) < WAITING:
            return (counts, error, waiting)
        return (*self._bounded(_total(counts, waiting), error), ())

    def merge(self, left: Counts, right: Counts) -> Counts:
        return (*self._bounded(_total(left[0], left[2], right[0], right[2]), left[1] + right[1]), ())

    def _bounded(self, counts: Counter[str], error: int) -> tuple[dict[str, int], int]:
        """At most `limit` counts: of each is taken away what the first too many has."""
        if len(counts) <= self.limit:
            return dict(counts), error
        less = sorted(counts.values(), reverse=True)[self.limit]
        return {text: count - less for text, count in counts.items() if count > less}, error + less

    def result(self, accumulator: Counts) -> Any:
        counts, error, waiting = accumulator
        counts, error = self._bounded(_total(counts, waiting), error)
        top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: self.k]
        return Frequent([(msgspec.json.decode(text), count) for text, count in top], error)
