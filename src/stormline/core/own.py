"""An aggregate of the user's own among ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, get_type_hints

import msgspec

from stormline.core.fold import Aggregate, Fold, said_argument
from stormline.core.reading import UNTYPED, Reading

METHODS = ("create", "add", "merge", "result")

encode = msgspec.json.Encoder(decimal_format="string").encode


def said_aggregate(aggregate: Any) -> str:
    """An aggregate in the fingerprint of a topology, the same in each process: its repr, unless that is Python's own,
    which has an address. Then its class and its attributes."""
    shown = repr(aggregate)
    if " at 0x" not in shown:
        return shown
    kind = type(aggregate)
    attributes = {name: getattr(aggregate, name) for name in ("value", "where") if hasattr(aggregate, name)}
    attributes |= getattr(aggregate, "__dict__", {})
    listed = ", ".join(f"{name}={said_argument(value)}" for name, value in sorted(attributes.items()))
    return f"{kind.__module__}.{kind.__qualname__}({listed})"


class Own(Fold):
    """Calls the user's four methods, and makes sure of what they give.

    What cannot be written to Redis and read back would stop the bolt for good, long after the record that brought it.
    So each new accumulator is written, read back and compared, and its result written: if that fails, the record is
    broken. It costs some microseconds a record, more for large accumulators.
    """

    kind = UNTYPED

    def __init__(self, aggregate: Aggregate) -> None:
        super().__init__(getattr(aggregate, "value", None), where=getattr(aggregate, "where", None))
        self.aggregate = aggregate

    @cached_property
    def read(self) -> Callable[[bytes], Any]:
        """From the JSON of an accumulator to the accumulator."""
        read: Callable[[bytes], Any] = msgspec.json.Decoder(self.state_type(None)).decode
        return read

    def faults(self) -> list[str]:
        if isinstance(self.aggregate, type):
            return [f"is the class {self.aggregate.__name__}; make one of it: {self.aggregate.__name__}(...)"]
        missing = [name for name in METHODS if not callable(getattr(self.aggregate, name, None))]
        if missing:
            return [f"is {self.aggregate!r}, which has no {', '.join(missing)}; an aggregate has {', '.join(METHODS)}"]
        return super().faults() + self._state_faults()

    def _state_faults(self) -> list[str]:
        name = f"{type(self.aggregate).__name__}.create"
        try:
            state = get_type_hints(self.aggregate.create).get("return")
        except NameError as error:
            return [f"has a {name} whose return annotation cannot be read: {error}"]
        if state is None:
            return [
                f"has a {name} without a return annotation; it tells how to read the accumulator back, such as "
                "`def create(self) -> tuple[int, Decimal]`"
            ]
        try:
            self._sure(self.aggregate.create())
        except Exception as error:  # the user's code may raise anything
            return [f"has a {name} whose accumulator cannot be kept: {error}"]
        return []

    def identity(self, reading: Reading) -> tuple[Any, ...]:
        return (Own, id(self.aggregate))

    def result_type(self, hint: Any) -> Any:
        return Any

    def state_type(self, hint: Any) -> Any:
        return get_type_hints(self.aggregate.create)["return"]

    def create(self) -> Any:
        return self.aggregate.create()

    def add(self, accumulator: Any, value: Any) -> Any:
        return self._sure(self.aggregate.add(accumulator, value))

    def merge(self, left: Any, right: Any) -> Any:
        return self._sure(self.aggregate.merge(left, right))

    def result(self, accumulator: Any) -> Any:
        return self.aggregate.result(accumulator)

    def _sure(self, accumulator: Any) -> Any:
        """The accumulator, if it and its result can be written.

        Raises:
            TypeError: they cannot, or it would not come back as it was.
        """
        text = encode(accumulator)
        back = self.read(text)
        if back != accumulator:
            raise TypeError(f"the accumulator {accumulator!r} would come back from JSON as {back!r}")
        encode(self.aggregate.result(accumulator))
        return accumulator
