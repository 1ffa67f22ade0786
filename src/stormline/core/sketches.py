"""Aggregates that are estimates of a known error where exactness would take memory without end: distinct, quantiles.

The sketches are those of Apache DataSketches, an optional package (`stormline[sketches]`). It is imported when it is
used. In an accumulator a sketch is its bytes, which nobody can change; values wait beside it and are added many at a
time, since reading and writing a sketch costs as much as adding hundreds of values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from stormline.core.fold import OfValue, positive
from stormline.core.frequent import WAITING, canonical
from stormline.core.reading import ANYTHING, NUMERIC, Value, Where, finite

HLL_LOG2_REGISTERS = 12
"""4096 registers of a byte: the standard error of an estimate is 1.04 / sqrt(4096) = 1.6 %; 99.7 % are within 4.9 %."""

KLL_K = 200
"""Some 5 kB. The rank of a quantile is off by at most 1.33 %, with 99 % confidence, by KLL's own formula for this k."""


def _package_faults() -> list[str]:
    """Imports the package, which takes a quarter of a second: before the first record, not with it."""
    try:
        import datasketches  # noqa: F401

        return []
    except ImportError:
        return [f"needs the package datasketches: {sys.executable} -m pip install datasketches; workers need it too"]


Texts = tuple[frozenset[str], bytes]
"""Canonical texts of values, and the sketch of those that are in it; no bytes: all values are texts."""

Floats = tuple[bytes, tuple[float, ...], str]
"""A KLL sketch, values that are not in it yet, and the name of the type of all; no bytes: the sketch is empty."""


class Distinct(OfValue):
    """How many different values.

    Exact up to `limit`; beyond it an estimate by HyperLogLog with a standard error of 1.6 %. Neither depends on the
    order of arrival. `limit=None` is exact always, and holds every value in memory and in Redis.
    """

    kind = ANYTHING

    def __init__(self, value: Value, *, limit: int | None = 1000, where: Where = None) -> None:
        super().__init__(value, where=where, limit=limit)
        self.limit = limit

    def faults(self) -> list[str]:
        wrong = [] if self.limit is None else [*positive(limit=self.limit), *_package_faults()]
        return super().faults() + wrong

    def result_type(self, hint: Any) -> Any:
        return int

    def state_type(self, hint: Any) -> Any:
        return tuple[frozenset[str], bytes]

    def create(self) -> Texts:
        return (frozenset(), b"")

    def add(self, accumulator: Texts, value: Any) -> Texts:
        texts, sketch = accumulator
        text = canonical(value)
        return accumulator if text in texts else self._bounded(texts | {text}, [sketch])

    def merge(self, left: Texts, right: Texts) -> Texts:
        return self._bounded(left[0] | right[0], [left[1], right[1]])

    def _bounded(self, texts: frozenset[str], sketches: Sequence[bytes]) -> Texts:
        filled = [sketch for sketch in sketches if sketch]
        if len(filled) < 2 and (self.limit is None or len(texts) <= (WAITING if filled else self.limit)):
            return (texts, filled[0] if filled else b"")
        return (frozenset(), _hll(filled, texts).serialize_compact())

    def result(self, accumulator: Texts) -> int:
        texts, sketch = accumulator
        if not sketch:
            return len(texts)
        whole = _hll([sketch], texts).serialize_compact()
        return int(round(_hll([whole, whole], ()).get_estimate()))


def _hll(sketches: Iterable[bytes], texts: Iterable[str]) -> Any:
    """One sketch of all. Its registers do not depend on the order; the estimate of a sketch that is a union of two does
    not either, where that of others takes the order into account."""
    from datasketches import hll_sketch, hll_union, tgt_hll_type

    union = hll_union(HLL_LOG2_REGISTERS)
    for sketch in sketches:
        union.update(hll_sketch.deserialize(sketch))
    for text in texts:
        union.update(text)
    return union.get_result(tgt_hll_type.HLL_8)


class Quantiles(OfValue):
    """For each fraction the smallest value that is at least as large as that fraction of all values: 0.5 is the median.

    Exact up to 200 values; beyond that an estimate by a KLL sketch: a value whose true rank is within 1.33 % of the one
    asked for, with 99 % confidence. Each is a value that was there, of its type; ints and Decimals of more than 15
    digits are rounded to a float's. A sketch draws at random what it keeps, so estimates may differ after a replay.
    """

    kind = NUMERIC

    def __init__(self, value: Value, fractions: Sequence[float], *, where: Where = None) -> None:
        listed = tuple(fractions) if isinstance(fractions, Sequence) else fractions
        super().__init__(value, where=where, fractions=listed)
        self.fractions = listed

    def faults(self) -> list[str]:
        fractions = self.fractions
        wrong = _package_faults()
        if not isinstance(fractions, tuple) or not fractions:
            wrong.append(f"has fractions = {fractions!r}; give a list such as [0.5, 0.99]")
        else:
            wrong += [
                f"asks for the quantile {fraction!r}; give a number from 0 to 1"
                for fraction in fractions
                if type(fraction) not in (int, float) or not 0 <= fraction <= 1
            ]
        return super().faults() + wrong

    def result_type(self, hint: Any) -> Any:
        return list[hint] | None

    def state_type(self, hint: Any) -> Any:
        return tuple[bytes, tuple[float, ...], str]

    def create(self) -> Floats:
        return (b"", (), "")

    def add(self, accumulator: Floats, value: Any) -> Floats:
        sketch, waiting, kind = accumulator
        waiting = (*waiting, finite(float(value)))
        own = type(value).__name__
        kind = own if kind in ("", own) else "float"
        return (sketch, waiting, kind) if len(waiting) < WAITING else (_kll([sketch], waiting).serialize(), (), kind)

    def merge(self, left: Floats, right: Floats) -> Floats:
        kinds = {left[2], right[2]} - {""}
        kind = kinds.pop() if len(kinds) == 1 else "float" if kinds else ""
        waiting = left[1] + right[1]
        sketches = [sketch for sketch in (left[0], right[0]) if sketch]
        if len(sketches) < 2 and len(waiting) < WAITING:
            return (sketches[0] if sketches else b"", waiting, kind)
        return (_kll(sketches, waiting).serialize(), (), kind)

    def result(self, accumulator: Floats) -> list[Any] | None:
        sketch, waiting, kind = accumulator
        if not sketch and not waiting:
            return None
        kll = _kll([sketch], waiting)
        ends = {0.0: kll.get_min_value(), 1.0: kll.get_max_value()}
        found = [ends.get(float(fraction)) for fraction in self.fractions]
        inner = kll.get_quantiles(list(map(float, self.fractions)), True)
        return [_typed(float(a if b is None else b), kind) for a, b in zip(inner, found, strict=True)]


def _typed(number: float, kind: str) -> Any:
    """A float as what it was before: up to 15 digits survive both ways."""
    return int(number) if kind == "int" else Decimal(repr(number)) if kind == "Decimal" else number


def _kll(sketches: Iterable[bytes], values: Iterable[float]) -> Any:
    from datasketches import kll_doubles_sketch

    kll = kll_doubles_sketch(KLL_K)
    for sketch in filter(None, sketches):
        kll.merge(kll_doubles_sketch.deserialize(sketch))
    for value in values:
        kll.update(value)
    return kll
