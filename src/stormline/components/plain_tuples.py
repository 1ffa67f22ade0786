"""Plain Storm tuples on one side, records on the other: where stock components stand beside ours.

A plain tuple has no origin: nobody can tell whether it was counted before. So what comes of it is at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from stormline.components.decoding import time_ms
from stormline.components.host import Host, Tuple
from stormline.core.batch import Batch, Rows
from stormline.core.progress import Claim, Progress

DEFAULT = "default"
NO_PARTITION = ""
"""The partition of records that came as plain tuples."""
UNTOLD = "(plain)"
"""Stands in progress for the spout of records whose spout tells none."""


def plain_values(record: msgspec.Struct) -> list[Any]:
    """A record as the values of a plain tuple, in the order of the schema's fields; JSON forms: dates and decimals are
    texts."""
    return [msgspec.to_builtins(getattr(record, field)) for field in record.__struct_fields__]


def carries_batch(tup: Tuple) -> bool:
    """Whether a tuple came from a component of ours, as a batch."""
    return isinstance(tup.values, Batch)


class PlainInput:
    """Reads plain tuples as records of `schema`; the event time is a field's, or (None) the time of arrival."""

    def __init__(self, host: Host, schema: type[msgspec.Struct], event_time: str | None) -> None:
        self._host = host
        self._schema = schema
        self._time = None if event_time is None else attrgetter(event_time)
        self._fields: Mapping[str, Mapping[str, Sequence[str]]] | None = None

    def batch(self, tup: Tuple) -> Batch:
        """A batch of one record, of no origin.

        Raises ValueError (msgspec.ValidationError is one) if the tuple is no record of the schema.
        """
        record = msgspec.convert(self.named(tup), self._schema, strict=False)
        at_ms = self._host.now_ms() if self._time is None else time_ms(self._time(record))
        return Batch(-1, "", NO_PARTITION, Rows([0], [at_ms], [record]))

    def named(self, tup: Tuple) -> dict[str, Any]:
        """The values of a tuple by the names of its stream's fields."""
        if self._fields is None:
            self._fields = self._host.handshake()["context"]["source->stream->fields"]
        return dict(zip(self._fields[tup.component][tup.stream], tup.values, strict=True))


class SeenTimes:
    """What closes windows of records without progress: the largest event time seen, less `out_of_order_ms`, of the
    stream where it is least; as Storm's own windows have it. Nothing closes before each stream has been heard."""

    def __init__(self, out_of_order_ms: int) -> None:
        self._out_of_order_ms = out_of_order_ms
        self._latest_ms: dict[str, int] = {}
        self._sequence = 0

    def saw(self, tup: Tuple, times_ms: Sequence[int]) -> Progress | None:
        """Progress to go by, if these times bring any."""
        stream = f"{tup.component}/{tup.stream}"
        latest_ms = max(times_ms)
        if latest_ms <= self._latest_ms.get(stream, latest_ms - 1):
            return None
        self._latest_ms[stream] = latest_ms
        self._sequence += 1
        claim = Claim(stream, self._sequence, 0, latest_ms - self._out_of_order_ms, idle=False, ended=False)
        return Progress(UNTOLD, 0, "", self._sequence, 1, (claim,))
