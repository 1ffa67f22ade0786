"""From the bytes in Kafka to typed records with an event time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stormline.components.from_kafka import NO_TIME, NO_VALUE, Arrived, MarkedValues, Unfit, marked
from stormline.components.values import JSON, value_decoder
from stormline.core.batch import Rows
from stormline.core.errors import raised
from stormline.core.events import Fetched

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_DAY_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000


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
        Unfit: it is no datetime, date or int.
    """
    if isinstance(value, datetime):
        return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH) // _MS
    if isinstance(value, date):
        return (value.toordinal() - _DAY_ORDINAL) * _DAY_MS
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Unfit(f"the event time is {value!r}; it must be a datetime, a date or an int of ms since the epoch")


class Decoder:
    """Reads the values of one schema. Event time from a field, or (None) the timestamp of the Kafka record.

    `own`: the user's decoder, in the place of the one for this kind of value.
    """

    def __init__(
        self,
        schema: type[msgspec.Struct],
        event_time: str | None,
        max_ahead_ms: int,
        value: str = JSON,
        own: Callable[[bytes], Any] | None = None,
    ) -> None:
        self._own = own is not None
        self._marked: MarkedValues | None = None
        if marked(schema):
            self._marked = MarkedValues(schema, lambda part: value_decoder(part, value, own), own=self._own)
        self._decode = value_decoder(schema, value, own) if self._marked is None else None
        self._time = attrgetter(event_time) if event_time is not None else None
        types = {field.name: field.type for field in msgspec.structs.fields(schema)}
        self._time_is_int = event_time is not None and types.get(event_time) is int
        self._max_ahead_ms = max_ahead_ms

    def rows(self, fetched: Fetched, now_ms: int) -> tuple[Rows, list[Undecodable]]:
        """The records, and those that cannot be read, have no time, or lie too far in the future to be true."""
        if self._decode is None:
            return self._one_by_one(fetched, now_ms)
        try:
            values, times_ms = self._columns(fetched, self._decode)
        except Exception:  # a value is None, or cannot be read, or whatever a decoder of the user's raises
            return self._one_by_one(fetched, now_ms)
        if max(times_ms, default=0) > now_ms + self._max_ahead_ms:
            return self._one_by_one(fetched, now_ms)
        if self._time is None and min(times_ms, default=0) < 0:
            return self._one_by_one(fetched, now_ms)
        return Rows(list(fetched.offsets), times_ms, values), []

    def _columns(self, fetched: Fetched, decode: Callable[[bytes], Any]) -> tuple[list[Any], list[int]]:
        """Records and times, if all can be read."""
        time = self._time
        values = [decode(value) for value in fetched.values]  # type: ignore[arg-type]
        if time is None:
            return values, list(fetched.timestamps_ms)
        times = list(map(time, values))
        return values, times if self._time_is_int else [time_ms(value) for value in times]

    def _one_by_one(self, fetched: Fetched, now_ms: int) -> tuple[Rows, list[Undecodable]]:
        rows, bad = Rows([], [], []), []
        none: Sequence[Any] = ((),) * len(fetched.offsets)
        headers = none if self._marked is None else fetched.headers
        columns: Sequence[Any] = (fetched.offsets, fetched.timestamps_ms, fetched.keys, headers, fetched.values)
        for offset, timestamp_ms, key, heads, value in zip(*columns, strict=True):
            try:
                record = self._record(
                    value, Arrived(fetched.partition, offset, timestamp_ms, key, heads, value is None)
                )
                at_ms = self._time_ms(record, timestamp_ms, now_ms)
            except Exception as error:  # as above
                ours = isinstance(error, Unfit) or (isinstance(error, ValueError) and not self._own)
                bad.append(Undecodable(offset, key, value, str(error) if ours else raised(error), error))
                continue
            rows.offsets.append(offset)
            rows.times_ms.append(at_ms)
            rows.values.append(record)
        return rows, bad

    def _record(self, value: bytes | None, message: Arrived) -> Any:
        if self._marked is not None:
            return self._marked.record(value, message)
        if value is None:
            raise Unfit(NO_VALUE)
        assert self._decode is not None
        return self._decode(value)

    def _time_ms(self, record: Any, timestamp_ms: int, now_ms: int) -> int:
        """Raises Unfit if the record has no time that could be true."""
        if self._time is not None:
            at_ms = time_ms(self._time(record))
        elif timestamp_ms >= 0:
            at_ms = timestamp_ms
        else:
            raise Unfit(NO_TIME.format(timestamp_ms))
        if at_ms > now_ms + self._max_ahead_ms:
            ahead_s = (at_ms - now_ms) // 1000
            raise Unfit(f"its event time lies {ahead_s} s in the future; it would close every window before it")
        return at_ms
