"""What a slot sends on, from the flush that makes it durable until it is known to have arrived (K7).

An output gets a number when the change comes about that makes it. It is stored in the flush of that change, sent after
that flush, and sent again, under the same number, until a progress tuple that it was anchored to is known to be acked.
So whoever takes it sees each number at least once, whatever dies, and what it says never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from stormline.core.aggregate import written


class Output(msgspec.Struct, array_like=True, frozen=True):
    """One tuple to be sent."""

    stream: str
    values: msgspec.Raw
    """JSON of the list of values, without the last one, its identity."""

    def flat(self) -> list[Any]:
        """The values; what is a list or an object among them as its JSON text: Storm's workers cannot send each other
        nested values."""
        values: list[Any] = msgspec.json.decode(self.values)
        return [written(value).decode() if isinstance(value, list | dict) else value for value in values]


class Fault(NamedTuple):
    """User code raised, and no record is to blame for it: a condition at a flush, a timer."""

    key: str
    what: str
    error: Exception


_decode = msgspec.json.Decoder(Output).decode
_encode = msgspec.json.Encoder().encode


class Outbox:
    """The outputs of one slot. `stored`: those which the store holds; they are due, as nobody knows of them."""

    def __init__(self, next_number: int = 0, stored: Mapping[int, bytes] | None = None) -> None:
        self.next_number = next_number
        self._due: dict[int, Output] = {number: _decode(raw) for number, raw in sorted((stored or {}).items())}
        self._unwritten: dict[int, Output] = {}
        self._sent: dict[int, Output] = {}
        self._delivered: list[int] = []
        self.faults: list[Fault] = []
        """Since the last flush was begun."""

    def __bool__(self) -> bool:
        """Something is not known to have arrived, or the store does not know that it has."""
        return bool(self._due or self._unwritten or self._sent or self._delivered)

    def put(self, stream: str, values: list[Any]) -> None:
        """Something to be sent once the next flush is durable."""
        self._unwritten[self.next_number] = Output(stream, msgspec.Raw(written(values)))
        self.next_number += 1

    def take_back(self, next_number: int) -> None:
        """Forget what was put since this was the next number."""
        while self.next_number > next_number:
            self.next_number -= 1
            del self._unwritten[self.next_number]

    def take(self) -> tuple[dict[int, Output], list[int]]:
        """For a flush: what is to be stored, and what is to be deleted."""
        taken = self._unwritten, self._delivered
        self._unwritten, self._delivered = {}, []
        return taken

    def stored(self, outputs: Mapping[int, Output]) -> None:
        """A flush with these is durable: they may be sent."""
        self._due.update(outputs)

    def restore(self, outputs: dict[int, Output], delivered: list[int]) -> None:
        """A flush with these may not have arrived."""
        self._unwritten = outputs | self._unwritten
        self._delivered = delivered + self._delivered

    def send(self) -> dict[int, Output]:
        """What is to be sent now."""
        due, self._due = self._due, {}
        self._sent.update(due)
        return due

    def arrived(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._sent.pop(number, None) is not None:
                self._delivered.append(number)

    def lost(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            output = self._sent.pop(number, None)
            if output is not None:
                self._due[number] = output

    @property
    def due(self) -> bool:
        """Something is to be sent."""
        return bool(self._due)


def raw(output: Output) -> bytes:
    """As the store holds it."""
    return _encode(output)
