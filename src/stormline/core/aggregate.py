"""What is computed over the records of a window: small folds, several a window.

An accumulator is an immutable value: `add` returns a new one, so a record whose user code raises half-way changes
nothing. Exact for int and Decimal.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Protocol, get_type_hints

import msgspec

EXACT = decimal.Context(
    prec=1000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact, decimal.InvalidOperation]
)
"""Adds Decimals without ever rounding; 1,000 digits hold every sum of amounts that fits into memory."""

MEAN_DIGITS = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)
"""A mean of Decimals is the exact quotient rounded once, to 28 significant digits."""


class Aggregate(Protocol):
    """A fold over the values of one field (None: over whole records).

    Laws: `merge` is associative and agrees with `add`; `result(create())` is allowed to be None.
    """

    result_is_state: ClassVar[bool]
    """The result alone lets the fold go on, so Redis needs no accumulator beside it."""

    @property
    def field(self) -> str | None:
        """The field it reads."""

    def result_type(self, value: Any) -> Any:
        """The type of the result, given the type of the field."""

    def state_type(self, value: Any) -> Any:
        """The type of the accumulator, given the type of the field."""

    def create(self) -> Any: ...

    def add(self, accumulator: Any, value: Any) -> Any: ...

    def merge(self, left: Any, right: Any) -> Any: ...

    def result(self, accumulator: Any) -> Any: ...


class Count:
    """How many records."""

    result_is_state: ClassVar[bool] = True
    field = None

    def __repr__(self) -> str:
        return "Count()"

    def result_type(self, value: Any) -> Any:
        return int

    state_type = result_type

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: Any) -> int:
        return accumulator + 1

    def merge(self, left: int, right: int) -> int:
        return left + right

    def result(self, accumulator: int) -> int:
        return accumulator


class _OfField:
    result_is_state: ClassVar[bool] = True

    def __init__(self, field: str) -> None:
        self.field = field

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.field!r})"

    def result_type(self, value: Any) -> Any:
        return value | None

    state_type = result_type

    def create(self) -> Any:
        return None

    def result(self, accumulator: Any) -> Any:
        return accumulator


class Sum(_OfField):
    """The sum of a field."""

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None else _plus(accumulator, value)

    def merge(self, left: Any, right: Any) -> Any:
        return left if right is None else self.add(left, right)


class Min(_OfField):
    """The smallest value of a field."""

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None or value < accumulator else accumulator

    def merge(self, left: Any, right: Any) -> Any:
        return left if right is None else self.add(left, right)


class Max(_OfField):
    """The largest value of a field."""

    def add(self, accumulator: Any, value: Any) -> Any:
        return value if accumulator is None or value > accumulator else accumulator

    def merge(self, left: Any, right: Any) -> Any:
        return left if right is None else self.add(left, right)


class Mean(_OfField):
    """The arithmetic mean of a field: exact sum by count, a Decimal rounded once to 28 significant digits."""

    result_is_state: ClassVar[bool] = False

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.parts = (Count(), Sum(field))
        """The folds it is made of: its accumulator has one of each. Others like them are folded only once."""

    def result_type(self, value: Any) -> Any:
        return (Decimal if value is Decimal else float) | None

    def state_type(self, value: Any) -> Any:
        return tuple[int, value | None]

    def create(self) -> tuple[int, Any]:
        return (0, None)

    def add(self, accumulator: tuple[int, Any], value: Any) -> tuple[int, Any]:
        count, total = self.parts
        return (count.add(accumulator[0], value), total.add(accumulator[1], value))

    def merge(self, left: tuple[int, Any], right: tuple[int, Any]) -> tuple[int, Any]:
        count, total = self.parts
        return (count.merge(left[0], right[0]), total.merge(left[1], right[1]))

    def result(self, accumulator: tuple[int, Any]) -> Any:
        count, total = accumulator
        if count == 0:
            return None
        return MEAN_DIGITS.divide(total, count) if isinstance(total, Decimal) else total / count


def _plus(left: Any, right: Any) -> Any:
    return EXACT.add(left, right) if isinstance(right, Decimal) else left + right


Accumulators = tuple[Any, ...]
"""One for each fold; a mean is two folds, which it shares with a count and a sum of the same field."""


class Aggregation:
    """The aggregates of one window by name: fold records in, tell the result, write the state down and read it back."""

    def __init__(
        self, aggregates: Mapping[str, Aggregate], schema: type[msgspec.Struct], *, counted: bool = False
    ) -> None:
        """`counted`: the records are counted, whether an aggregate does it or not.

        Raises ValueError for a name that is no identifier or a field that the schema lacks."""
        hints = get_type_hints(schema)
        for name, aggregate in aggregates.items():
            if not name.isidentifier():
                raise ValueError(f"the aggregate {name!r} needs a name that could be a Python variable")
            if aggregate.field is not None and aggregate.field not in hints:
                has = ", ".join(hints)
                raise ValueError(
                    f"the aggregate {name} reads the field {aggregate.field!r}; {schema.__name__} has {has}"
                )
        self.names = tuple(aggregates)
        values = list(aggregates.values())
        folds, places = _folds(values if not counted else [*values, Count()])
        self._all = folds
        self._counted = next((i for i, fold in enumerate(folds) if type(fold) is Count), 0)
        self._empty = tuple(fold.create() for fold in folds)
        result_types = [a.result_type(hints.get(a.field or "")) for a in values]
        state_types = [fold.state_type(hints.get(fold.field or "")) for fold in folds]
        self.result_type = msgspec.defstruct(
            "Result", list(zip(self.names, result_types, strict=True)), frozen=True, gc=False
        )
        self._decode_result = msgspec.json.Decoder(self.result_type).decode
        self._decode_state = msgspec.json.Decoder(tuple[tuple(state_types)]).decode  # type: ignore[misc]
        self.add: Callable[..., Accumulators] = _written_add(folds, hints)
        """The accumulators (None: of no record) and one more record -> the accumulators with it."""
        self.result = _written_result(self.result_type, values, places[: len(values)])
        """The result of accumulators, as a Struct with one attribute an aggregate."""
        shown = {
            place: name
            for name, a, place in zip(self.names, values, places[: len(values)], strict=True)
            if a.result_is_state
        }
        self._shown = [shown.get(number, "") for number in range(len(folds))]
        """For each fold the name of a result that is its accumulator, if there is one."""
        self.needs_state = "" in self._shown
        """Some accumulator cannot be read back from the result."""

    needs_place = False

    def merge(self, left: Accumulators, right: Accumulators) -> Accumulators:
        return tuple(fold.merge(a, b) for fold, a, b in zip(self._all, left, right, strict=True))

    def records(self, accumulators: Accumulators) -> int:
        """How many records these are of; with a count of all among the folds only."""
        return int(accumulators[self._counted])

    def write_results(self, rows: Mapping[str, Accumulators]) -> dict[str, str]:
        """For each key the JSON object of the results by name; Decimals as strings, times ISO 8601."""
        return dict(zip(rows, _written(list(map(self.result, rows.values()))), strict=True))

    def write_states(self, rows: Mapping[str, Accumulators]) -> dict[str, str]:
        """For each key the JSON array of all accumulators."""
        return dict(zip(rows, _written(list(rows.values())), strict=True))

    def read(self, result: str | None, state: str | None) -> Accumulators:
        """The accumulators, from the state if there is one, else from the result."""
        if state is not None:
            return tuple(self._decode_state(state))
        if result is None:
            return self._empty
        struct = self._decode_result(result)
        return tuple(getattr(struct, name) for name in self._shown)


_KNOWN = (Count, Sum, Min, Max)
_Place = int | tuple[int, ...]


def _folds(aggregates: Sequence[Aggregate]) -> tuple[list[Aggregate], list[_Place]]:
    """What is folded, each once, and where each aggregate finds its accumulator: a place, or one for each part."""
    folds: list[Aggregate] = []
    known: dict[Any, int] = {}

    def place(fold: Aggregate) -> int:
        same = (type(fold), fold.field) if type(fold) in _KNOWN else id(fold)
        if same not in known:
            known[same] = len(folds)
            folds.append(fold)
        return known[same]

    return folds, [tuple(place(part) for part in a.parts) if isinstance(a, Mean) else place(a) for a in aggregates]


def _written_add(
    folds: Sequence[Aggregate], hints: Mapping[str, Any]
) -> Callable[[Accumulators | None, Any], Accumulators]:
    """`add` of all folds as one written-out function: a loop over them takes three times as long, and this is what runs
    for every record. For amount: Decimal it reads

        def add(before, record):
            v_amount = record.amount
            if before is None:
                return (1, v_amount, v_amount,)
            a0, a1, a2, = before
            return (a0 + 1, exact(a1, v_amount), v_amount if v_amount < a2 else a2,)
    """
    names: dict[str, Any] = {"exact": EXACT.add}
    first, more = [], []
    for i, fold in enumerate(folds):
        names[f"add{i}"], names[f"empty{i}"] = fold.add, fold.create()
        value = "record" if fold.field is None else f"v_{fold.field}"
        plain = _plain_fold(fold, hints.get(fold.field or ""), f"a{i}", value)
        first.append(plain[0] if plain else f"add{i}(empty{i}, {value})")
        more.append(plain[1] if plain else f"add{i}(a{i}, {value})")
    fields = sorted({fold.field for fold in folds if fold.field is not None})  # each was checked to be a field
    lines = ["def add(before, record):"]
    lines += [f"    v_{field} = record.{field}" for field in fields]
    lines += ["    if before is None:", f"        return ({''.join(f'{each}, ' for each in first)})"]
    names_of_parts = "".join(f"a{i}, " for i in range(len(folds)))
    lines += [f"    ({names_of_parts}) = before", f"    return ({''.join(f'{each}, ' for each in more)})"]
    exec("\n".join(lines), names)
    add: Callable[[Accumulators | None, Any], Accumulators] = names["add"]
    return add


def _plain_fold(fold: Aggregate, hint: Any, accumulator: str, value: str) -> tuple[str, str] | None:
    """The first `add` and a later one, for a fold that needs no call; None where the field may be None or is no plain
    number, and for the user's own."""
    if type(fold) is Count:
        return "1", f"{accumulator} + 1"
    if hint not in (int, float, Decimal):
        return None
    if type(fold) is Sum:
        return value, f"exact({accumulator}, {value})" if hint is Decimal else f"{accumulator} + {value}"
    if type(fold) in (Min, Max):
        return value, f"{value} if {value} {'<' if type(fold) is Min else '>'} {accumulator} else {accumulator}"
    return None


def _written_result(
    struct: type, aggregates: Sequence[Aggregate], places: Sequence[_Place]
) -> Callable[[Accumulators], Any]:
    """The Struct of all results as one expression over the accumulators `a`."""
    names: dict[str, Any] = {"struct": struct}
    results = []
    for i, (aggregate, place) in enumerate(zip(aggregates, places, strict=True)):
        names[f"result{i}"] = aggregate.result
        parts = f"({''.join(f'a[{p}], ' for p in place)})" if isinstance(place, tuple) else f"a[{place}]"
        results.append(parts if type(aggregate) in _KNOWN else f"result{i}({parts})")
    written: Callable[[Accumulators], Any] = eval(f"lambda a: struct({', '.join(results)})", names)
    return written


_encoder = msgspec.json.Encoder(decimal_format="string")
written = _encoder.encode
"""A value as JSON, Decimals as texts."""
_encode_lines = _encoder.encode_lines


def _written(values: list[Any]) -> list[str]:
    """The JSON of each: one call for all of them takes half the time, and JSON has no line breaks of its own."""
    return _encode_lines(values).decode().split("\n")[:-1]
