"""Records column by column, as the clients of Kafka hand them out.

An object for each record would cost more than all that a spout does with it afterwards. Keys and headers are seldom
looked at (a record that breaks, a schema that asks for them), timestamps only by a spout without a field for the event
time, so they may stay packed until somebody does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

Headers = tuple[tuple[str, bytes | None], ...]
"""Those of one record."""


class Columns(NamedTuple):
    """Records of one partition in the order of their offsets; columns of one length."""

    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] = ()

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return sum(map(len, filter(None, self.values)))

    def cut(self, first: int, end: int) -> Columns:
        return Columns(*(column[first:end] for column in self))  # type: ignore[arg-type]


class Later(Sequence[Any]):
    """A column, or a piece of it, that is unpacked when it is first looked into: `unpack` gives the whole."""

    def __init__(self, unpack: Callable[[], Sequence[Any]], piece: range) -> None:
        self._unpack, self._piece = unpack, piece

    def __len__(self) -> int:
        return len(self._piece)

    @overload
    def __getitem__(self, at: int) -> Any: ...

    @overload
    def __getitem__(self, at: slice) -> Later: ...

    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return Later(self._unpack, self._piece[at])
        return self._unpack()[self._piece[at]]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._unpack()[self._piece.start : self._piece.stop])
