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

    def result_type(self, value: Any) -> Any:
        return (Decimal if value is Decimal else float) | None

    def state_type(self, value: Any) -> Any:
        return tuple[int, value | None]

    def create(self) -> tuple[int, Any]:
        return (0, None)

    def add(self, accumulator: tuple[int, Any], value: Any) -> tuple[int, Any]:
        count, total = accumulator
        return (count + 1, value if total is None else _plus(total, value))

    def merge(self, left: tuple[int, Any], right: tuple[int, Any]) -> tuple[int, Any]:
        if right[0] == 0:
            return left
        if left[0] == 0:
            return right
        return (left[0] + right[0], _plus(left[1], right[1]))

    def result(self, accumulator: tuple[int, Any]) -> Any:
        count, total = accumulator
        if count == 0:
            return None
        return MEAN_DIGITS.divide(total, Decimal(count)) if isinstance(total, Decimal) else total / count


def _plus(left: Any, right: Any) -> Any:
    return EXACT.add(left, right) if isinstance(right, Decimal) else left + right


Accumulators = tuple[Any, ...]


class Aggregation:
    """The aggregates of one window by name: fold records in, tell the result, write the state down and read it back."""

    def __init__(self, aggregates: Mapping[str, Aggregate], schema: type[msgspec.Struct]) -> None:
        """Raises ValueError for a name that is no identifier or a field that the schema lacks."""
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
        self._aggregates = tuple(aggregates.values())
        self._empty = tuple(a.create() for a in self._aggregates)
        field_types = [hints.get(a.field or "") for a in self._aggregates]
        result_types = [a.result_type(t) for a, t in zip(self._aggregates, field_types, strict=True)]
        state_types = [a.state_type(t) for a, t in zip(self._aggregates, field_types, strict=True)]
        self.result_type = msgspec.defstruct("Result", list(zip(self.names, result_types, strict=True)), frozen=True)
        self._decode_result = msgspec.json.Decoder(self.result_type).decode
        self._decode_state = msgspec.json.Decoder(tuple[tuple(state_types)]).decode  # type: ignore[misc]
        self._add, self._result = _written_out(self._aggregates)
        self.needs_state = not all(a.result_is_state for a in self._aggregates)
        """Some accumulator cannot be read back from the result."""

    def add(self, accumulators: Accumulators | None, record: Any) -> Accumulators:
        """The accumulators with one more record; None: the first one."""
        return self._add(self._empty if accumulators is None else accumulators, record)

    def result(self, accumulators: Accumulators) -> Any:
        """The result as a Struct with one attribute an aggregate."""
        return self.result_type(*self._result(accumulators))

    def write_result(self, accumulators: Accumulators) -> bytes:
        """JSON object of the results by name; Decimals as strings, times ISO 8601."""
        return _encode(self.result(accumulators))

    def write_state(self, accumulators: Accumulators) -> bytes:
        """JSON array of all accumulators."""
        return _encode(accumulators)

    def read(self, result: bytes | None, state: bytes | None) -> Accumulators:
        """The accumulators, from the state if there is one, else from the result."""
        if state is not None:
            return tuple(self._decode_state(state))
        if result is None:
            return self._empty
        struct = self._decode_result(result)
        return tuple(getattr(struct, name) for name in self.names)


def _written_out(
    aggregates: Sequence[Aggregate],
) -> tuple[Callable[[Accumulators, Any], Accumulators], Callable[[Accumulators], Accumulators]]:
    """`add` and `result` over all aggregates, as one expression each: a loop over them takes twice as long, and this is
    what runs for every record."""
    names: dict[str, Any] = {}
    adds, results = [], []
    for i, aggregate in enumerate(aggregates):
        names[f"add{i}"], names[f"result{i}"] = aggregate.add, aggregate.result
        value = "record" if aggregate.field is None else f"record.{aggregate.field}"
        adds.append(f"add{i}(before[{i}], {value}), ")
        results.append(f"result{i}(accumulators[{i}]), ")
    add = eval(f"lambda before, record: ({''.join(adds)})", names)  # field names were checked against the schema
    return add, eval(f"lambda accumulators: ({''.join(results)})", names)


_encode = msgspec.json.Encoder(decimal_format="string").encode
