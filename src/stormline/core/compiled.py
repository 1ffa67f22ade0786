"""All folds of a window as one written-out function each for `add`, `merge` and `result`.

Loops over the folds take three times as long, and `add` runs for every record.
"""

from __future__ import annotations

import decimal
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from stormline.core.arithmetic import Count, Max, Min, Sum
from stormline.core.fold import EXACT, LARGEST_FLOAT, Fold, summable
from stormline.core.reading import NUMBERS, Reading, Where, check, finite, members

Accumulators = tuple[Any, ...]
"""One for each fold; a mean is two folds, which it shares with a count and a sum of the same value."""

Index = int | tuple[int, ...]
"""Where an aggregate finds its accumulator: an index, or one for each of its parts."""


class Bound(NamedTuple):
    """A fold and what it reads of a record: mostly one value."""

    fold: Fold
    readings: tuple[Reading, ...]

    @property
    def hint(self) -> Any:
        return self.readings[0].hint


class _Writer:
    """Lines of a function, and the objects they name."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"exact": EXACT.add, "finite": finite, "summable": summable}
        self.lines: list[str] = []
        self._known: dict[Any, str] = {}

    def name(self, prefix: str, thing: Any) -> str:
        """A name for an object."""
        name = f"{prefix}{len(self.names)}"
        self.names[name] = thing
        return name

    def once(self, same: Any, expression: str, test: str | None = None) -> str:
        """The variable that holds what the expression comes to; written once for all that are the same."""
        if same not in self._known:
            variable = self._known[same] = f"v{len(self._known)}"
            self.lines.append(f"    {variable} = {expression}")
            if test is not None:
                self.lines.append(f"    {test.format(value=variable)}")
        return self._known[same]

    def condition(self, where: Where) -> str:
        called = f"record.{where}" if isinstance(where, str) else f"{self.name('where', where)}(record)"
        return self.once(("where", where), called)


def written_add(bound: Sequence[Bound], *, placed: bool) -> Callable[..., Accumulators]:
    """The accumulators (None: of no record) and one more record -> the accumulators with it. `placed`: a third argument
    is the place of the record. For a count, a sum and a least of amount: Decimal it reads

        def add(before, record):
            v0 = record.amount
            if not v0.is_finite(): finite(v0)
            if before is None:
                return (1, v0, v0, )
            (a0, a1, a2, ) = before
            return (a0 + 1, exact(a1, v0), v0 if v0 < a2 else a2, )
    """
    writer = _Writer()
    summed = {(r.value, r.where) for fold, readings in bound if isinstance(fold, Sum) for r in readings}
    first, more = [], []
    for i, (fold, readings) in enumerate(bound):
        begun, gone_on = _added(writer, i, fold, readings, summed)
        first.append(begun)
        more.append(gone_on)
    lines = [f"def add(before, record{', place' if placed else ''}):", *writer.lines]
    lines += ["    if before is None:", f"        return {_tuple(first)}"]
    lines += [f"    {_tuple(f'a{i}' for i in range(len(bound)))} = before", f"    return {_tuple(more)}"]
    return _made("add", lines, writer.names)


def _added(writer: _Writer, i: int, fold: Fold, readings: tuple[Reading, ...], summed: set[Any]) -> tuple[str, str]:
    """The accumulator of the first record, and that of a later one."""
    reading = readings[0]
    if type(fold) is Count and (fold.value is None or not reading.optional):
        if fold.where is None:
            return "1", f"a{i} + 1"
        condition = writer.condition(fold.where)
        return f"1 if {condition} else 0", f"a{i} + 1 if {condition} else a{i}"
    values = [_read(writer, each, (each.value, each.where) in summed) for each in readings]
    value = values[0] if len(values) == 1 else f"({', '.join(values)})"
    if not reading.optional and reading.hint in NUMBERS:
        if type(fold) is Sum:
            return value, f"exact(a{i}, {value})" if reading.hint is Decimal else f"a{i} + {value}"
        if type(fold) in (Min, Max):
            return value, f"{value} if {value} {'<' if type(fold) is Min else '>'} a{i} else a{i}"
    add = writer.name("add", fold.add_at if fold.ordered else fold.add)
    empty = writer.name("empty", fold.create())
    arguments = f"{value}, place" if fold.ordered else value
    begun, gone_on = f"{add}({empty}, {arguments})", f"{add}(a{i}, {arguments})"
    if len(values) == 1 and reading.optional:
        return f"{empty} if {value} is None else {begun}", f"a{i} if {value} is None else {gone_on}"
    return begun, gone_on


def _read(writer: _Writer, reading: Reading, summed: bool) -> str:
    """The variable with the value: None where the condition does not hold."""
    value, where = reading.value, reading.where
    if value is None:
        read = "record"
    elif isinstance(value, str):
        read = f"record.{value}"
    else:
        read = f"{writer.name('check', check(reading.hint))}({writer.name('value', value)}(record))"
    if where is not None:
        read = f"{read} if {writer.condition(where)} else None"
    return writer.once((value, where, reading.hint), read, _test(reading, summed)) if read != "record" else read


def _test(reading: Reading, summed: bool) -> str | None:
    """What to do with a `{value}` that may be NaN, infinite or too large to sum; most pass a cheap condition."""
    if not members(reading.hint) & {float, Decimal}:
        return None
    if callable(reading.value) and not summed:  # `check` has looked already
        return None
    test = "summable" if summed else "finite"
    if reading.optional or reading.hint not in NUMBERS:
        return f"if {{value}} is not None: {test}({{value}})"
    if reading.hint is Decimal:
        return f"if not {{value}}.is_finite(): {test}({{value}})"
    largest = LARGEST_FLOAT if summed else sys.float_info.max
    return f"if not {-largest!r} < {{value}} < {largest!r}: {test}({{value}})"


def written_merge(bound: Sequence[Bound]) -> Callable[[Accumulators, Accumulators], Accumulators]:
    """The accumulators of two parts of the records -> those of both.

    Where Decimals would need more than 1,000 digits, no single record is to blame: each fold merges by itself then.
    """
    writer = _Writer()
    writer.names["rounded"] = partial(_merged_one_by_one, [each.fold for each in bound])
    writer.names["Inexact"] = decimal.Inexact
    merged = [_merged(writer, i, fold, readings[0]) for i, (fold, readings) in enumerate(bound)]
    lines = ["def merge(left, right):"]
    lines += [f"    {_tuple(f'{side[0]}{i}' for i in range(len(bound)))} = {side}" for side in ("left", "right")]
    lines += ["    try:", f"        return {_tuple(merged)}"]
    lines += ["    except Inexact:", "        return rounded(left, right)"]
    return _made("merge", lines, writer.names)


def _merged_one_by_one(folds: Sequence[Fold], left: Accumulators, right: Accumulators) -> Accumulators:
    return tuple(fold.merge(a, b) for fold, a, b in zip(folds, left, right, strict=True))


def _merged(writer: _Writer, i: int, fold: Fold, reading: Reading) -> str:
    left, right = f"l{i}", f"r{i}"
    either = f"{left} if {right} is None else {right} if {left} is None else "
    if type(fold) is Count:
        return f"{left} + {right}"
    if type(fold) is Sum and reading.hint in NUMBERS:
        return f"{either}{f'exact({left}, {right})' if reading.hint is Decimal else f'{left} + {right}'}"
    if type(fold) in (Min, Max):
        return f"{either}{right} if {right} {'<' if type(fold) is Min else '>'} {left} else {left}"
    return f"{writer.name('merge', fold.merge)}({left}, {right})"


def written_result(struct: type, aggregates: Sequence[Fold], indices: Sequence[Index]) -> Callable[[Accumulators], Any]:
    """The Struct of all results as one expression over the accumulators `a`."""
    names: dict[str, Any] = {"struct": struct}
    results = []
    for i, (aggregate, index) in enumerate(zip(aggregates, indices, strict=True)):
        names[f"result{i}"] = aggregate.result
        parts = f"({''.join(f'a[{p}], ' for p in index)})" if isinstance(index, tuple) else f"a[{index}]"
        results.append(parts if type(aggregate).result is Fold.result else f"result{i}({parts})")
    written: Callable[[Accumulators], Any] = eval(f"lambda a: struct({', '.join(results)})", names)
    return written


def _tuple(expressions: Iterable[str]) -> str:
    return f"({''.join(f'{each}, ' for each in expressions)})"


def _made(name: str, lines: Sequence[str], names: dict[str, Any]) -> Callable[..., Any]:
    exec("\n".join(lines), names)
    function: Callable[..., Any] = names[name]
    return function
