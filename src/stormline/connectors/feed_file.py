"""A CSV file as records for Kafka: JSON values, a key, a timestamp; always the same for the same file.

Without a column for the key records have none; without one for the time they have that of being fed.

The file is UTF-8 with a header row, `.csv` or `.csv.gz`. A column's JSON type follows from the text of all its values:

- every value an integer as JSON writes it (`-?(0|[1-9][0-9]*)`) or empty: a JSON number;
- every value such an integer, one with decimals (`11.77`) or empty: a JSON number, digit for digit as in the file,
  which a Decimal field reads exactly;
- else: a JSON string, so `007` stays `007`, dates stay ISO 8601 text.

Empty is null in a column of numbers, `""` in one of strings; a column without any value is one of strings.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from stormline.core.errors import SettingsError

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CACHE = 1 << 16
_CHUNK = 10_000


class FedRow(NamedTuple):
    """One row as it goes to Kafka."""

    number: int
    """1 for the first row under the header."""
    key: bytes | None
    value: bytes
    time_ms: int | None
    """ms since the epoch; None: when it is fed."""


class Content(NamedTuple):
    """What a source has to feed; `rows` begins anew with each call, and always gives the same."""

    total: int
    rows: Callable[[], Iterator[FedRow]]


class CsvFile(NamedTuple):
    """A source of rows: a file, the column whose text is the key, and that of the timestamp, ISO 8601; None: none."""

    file: Path
    key: str | None
    event_time: str | None

    def __str__(self) -> str:
        return described(self.file, self.key, self.event_time)

    def content(self) -> Content:
        """Reads the file through. Raises SettingsError for what is wrong in it."""
        found = layout(self.file, event_time=self.event_time)
        return Content(found.rows, lambda: fed_rows(self.file, found, key=self.key, event_time=self.event_time))


def described(file: Path, key: str | None, event_time: str | None) -> str:
    """For messages: what makes the rows."""
    return (
        f"{file} ({f'key {key}' if key else 'no key'}, {f'event time {event_time}' if event_time else 'no event time'})"
    )


class Layout(NamedTuple):
    """What a pass over the whole file found."""

    names: Sequence[str]
    numbers: Sequence[bool]
    """Which columns are JSON numbers."""
    rows: int


def header(file: Path) -> list[str]:
    """The names of the columns. Raises SettingsError if the file cannot be read."""
    with _rows(file) as rows:
        return next(rows, [])


def layout(file: Path, *, event_time: str | None) -> Layout:
    """Read the file through. Raises SettingsError for the first row with a wrong number of values or no time."""
    with _rows(file) as rows:
        names = next(rows, [])
        time_at = None if event_time is None else names.index(event_time)
        numbers, filled, count = [True] * len(names), [False] * len(names), 0
        # Many rows at a time, and each different text once: a check of every value would take four times as long.
        while chunk := list(islice(rows, _CHUNK)):
            if {*map(len, chunk)} != {len(names)}:
                at = next(at for at, row in enumerate(chunk) if len(row) != len(names))
                raise SettingsError(
                    f"{file}: row {count + at + 1} has {len(chunk[at])} values, the header has {len(names)}"
                )
            for column, values in enumerate(zip(*chunk, strict=True)):
                texts = set(values)
                if column == time_at:
                    _check_times(file, values, names[column], count)
                texts.discard("")
                filled[column] |= bool(texts)
                numbers[column] = numbers[column] and all(map(_NUMBER.fullmatch, texts))
            count += len(chunk)
    return Layout(names, [a and b for a, b in zip(numbers, filled, strict=True)], count)


def _check_times(file: Path, values: Sequence[str], name: str, before: int) -> None:
    for text in dict.fromkeys(values):
        try:
            epoch_ms(text)
        except ValueError as error:
            raise SettingsError(
                f"{file}: row {before + values.index(text) + 1} has {name} = {text!r}, which is no ISO 8601 date"
            ) from error


def fed_rows(file: Path, layout: Layout, *, key: str | None, event_time: str | None) -> Iterator[FedRow]:
    """All rows, in the order of the file."""
    key_at, time_at = (None if name is None else layout.names.index(name) for name in (key, event_time))
    template = "{" + ",".join(f"{json.dumps(name).replace('%', '%%')}:%s" for name in layout.names) + "}"
    texts = [column for column, number in enumerate(layout.numbers) if not number]
    quoted = lru_cache(_CACHE)(json.dumps)
    with _rows(file) as rows:
        next(rows)
        for number, row in enumerate(rows, 1):
            key_bytes = None if key_at is None else row[key_at].encode()
            time_ms = None if time_at is None else epoch_ms(row[time_at])
            for column in texts:
                row[column] = quoted(row[column])
            if "" in row:
                row = [text or "null" for text in row]
            yield FedRow(number, key_bytes, (template % tuple(row)).encode(), time_ms)


@lru_cache(_CACHE)
def epoch_ms(text: str) -> int:
    """An ISO 8601 date (its midnight) or time in ms since 1970, UTC where it names no zone. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


@contextmanager
def _rows(file: Path) -> Iterator[Iterator[list[str]]]:
    try:
        with (
            gzip.open(file, "rt", encoding="utf-8-sig", newline="")
            if file.suffix == ".gz"
            else open(file, encoding="utf-8-sig", newline="")
        ) as text:
            reader = csv.reader(text, strict=True)
            # Empty lines are no rows.
            yield (row for row in reader if row)
    except csv.Error as error:
        raise SettingsError(f"{file} cannot be read: line {reader.line_num}: {error}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
