"""A file of JSON lines as records for Kafka: each line an object, its value as it stands; `.jsonl` or `.jsonl.gz`.

The key is the text of a field: a string without its quotes, a number digit for digit. The time is a field too: ISO
8601, or ms since 1970.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stormline.connectors.feed_file import Content, FedRow, described, epoch_ms
from stormline.core.errors import SettingsError

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class LinesFile(NamedTuple):
    """A source of rows: a file, the field whose text is the key, and that of the timestamp; None: without."""

    file: Path
    key: str | None
    event_time: str | None

    def __str__(self) -> str:
        return described(self.file, self.key, self.event_time)

    def content(self) -> Content:
        """Reads the file through. Raises SettingsError for the first line that will not do."""
        total = sum(1 for _ in self._rows())
        return Content(total, self._rows)

    def _rows(self) -> Iterator[FedRow]:
        number = 0
        quick = _quick_decoder(self.key, self.event_time)
        with _lines(self.file) as lines:
            for at, line in enumerate(lines, 1):
                value = line.strip()
                if not value:
                    continue
                number += 1
                try:
                    key, time_ms = quick(value)
                except ValueError:
                    key, time_ms = self._second_look(at, value)
                yield FedRow(number, key, value, time_ms)

    def _second_look(self, at: int, value: bytes) -> tuple[bytes | None, int | None]:
        """Key and time of a line of any form; says what is wrong with it."""
        try:
            value.decode()
            fields = _decode(value)
            key = None if self.key is None else _text(fields, self.key)
            return key, None if self.event_time is None else _time_ms(fields, self.event_time)
        except ValueError as error:  # msgspec's and Unicode's are such
            raise SettingsError(f"{self.file}: line {at}: {error}") from error


def _quick_decoder(key: str | None, event_time: str | None) -> Callable[[bytes], tuple[bytes | None, int | None]]:
    """Key and time of a line of ASCII whose key is a number and whose time a whole one, as most are, for a third of the
    work. Raises ValueError for all others: they need a second look."""
    wanted = [("key", key, msgspec.Raw), ("time", None if event_time == key else event_time, int)]
    named = [(name, field, kind) for name, field, kind in wanted if field]
    line = msgspec.defstruct("Line", [(name, kind) for name, _, kind in named], rename={n: f for n, f, _ in named})
    decode = msgspec.json.Decoder(line).decode

    def quick(value: bytes) -> tuple[bytes | None, int | None]:
        if not value.isascii() or (key is not None and key == event_time):
            raise ValueError("no such line")
        found: Any = decode(value)
        raw = bytes(found.key) if key else None
        if raw is not None and raw[0] not in b"-0123456789":
            raise ValueError("a key that is no number")
        return raw, found.time if event_time else None

    return quick


def _text(fields: dict[str, msgspec.Raw], name: str) -> bytes:
    raw = bytes(fields.get(name, b"null"))
    if raw[:1] == b'"':
        return msgspec.json.decode(raw, type=str).encode()
    if raw == b"null" or raw[:1] in (b"{", b"["):
        came = "is missing" if name not in fields else f"is {raw.decode()}"
        raise ValueError(f"the field {name} {came}; it has {', '.join(fields) or 'no fields'}")
    return raw


def _time_ms(fields: dict[str, msgspec.Raw], name: str) -> int:
    text = _text(fields, name).decode()
    if bytes(fields[name])[:1] != b'"':
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"{name} is {text}, which is no whole number of ms") from None
    try:
        return epoch_ms(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, which is no ISO 8601 date") from None


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[bytes]]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as lines:
            yield iter(lines)
    except (OSError, EOFError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
