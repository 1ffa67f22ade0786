"""From the bytes in Kafka to typed records with an event time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stormline.core.batch import Rows
from stormline.core.events import Fetched

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_DAY_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000
_FAULTS = (msgspec.MsgspecError, ValueError, UnicodeDecodeError)


class Undecodable(NamedTuple):
    """A record that could not be read, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    error: Exception


def time_ms(value: Any) -> int:
    """An event time in ms since the epoch; datetimes without a zone and dates are UTC.

    Raises:
        ValueError: it is no datetime, date or int.
    """
    if isinstance(value, datetime):
        return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH) // _MS
    if isinstance(value, date):
        return (value.toordinal() - _DAY_ORDINAL) * _DAY_MS
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"the event time is {value!r}; it must be a datetime, a date or an int of ms since the epoch")


class Decoder:
    """Reads JSON values of one schema. Event time from a field, or (None) the timestamp of the Kafka record."""

    def __init__(self, schema: type[msgspec.Struct], event_time: str | None, max_ahead_ms: int) -> None:
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(schema).decode
        self._time = attrgetter(event_time) if event_time is not None else None
        types = {field.name: field.type for field in msgspec.structs.fields(schema)}
        self._time_is_int = event_time is not None and types.get(event_time) is int
        self._max_ahead_ms = max_ahead_ms

    def rows(self, fetched: Fetched, now_ms: int) -> tuple[Rows, list[Undecodable]]:
        """The records, and those that cannot be read or lie too far in the future to be true."""
        try:
            values, times_ms = self._columns(fetched)
        except (TypeError, *_FAULTS):  # TypeError: a value is None
            return self._one_by_one(fetched, now_ms)
        if max(times_ms, default=0) > now_ms + self._max_ahead_ms:
            return self._one_by_one(fetched, now_ms)
        return Rows(list(fetched.offsets), times_ms, values), []

    def _columns(self, fetched: Fetched) -> tuple[list[Any], list[int]]:
        """Records and times, if all can be read."""
        decode, time = self._decode, self._time
        values = [decode(value) for value in fetched.values]  # type: ignore[arg-type]
        if time is None:
            return values, list(fetched.timestamps_ms)
        times = list(map(time, values))
        return values, times if self._time_is_int else [time_ms(value) for value in times]

    def _one_by_one(self, fetched: Fetched, now_ms: int) -> tuple[Rows, list[Undecodable]]:
        rows, bad = Rows([], [], []), []
        columns: Sequence[Any] = (fetched.offsets, fetched.timestamps_ms, fetched.keys, fetched.values)
        for offset, timestamp_ms, key, value in zip(*columns, strict=True):
            try:
                if value is None:
                    raise ValueError("it has no value (a tombstone)")
                record = self._decode(value)
                at_ms = timestamp_ms if self._time is None else time_ms(self._time(record))
                if at_ms > now_ms + self._max_ahead_ms:
                    ahead_s = (at_ms - now_ms) // 1000
                    raise ValueError(
                        f"its event time lies {ahead_s} s in the future; it would close every window before it"
                    )
            except _FAULTS as error:
                bad.append(Undecodable(offset, key, value, str(error), error))
                continue
            rows.offsets.append(offset)
            rows.times_ms.append(at_ms)
            rows.values.append(record)
        return rows, bad
