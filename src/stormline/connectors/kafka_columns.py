"""What a broker answers to a fetch, column by column, in the place of kafka-python's records.

kafka-python makes one object of 13 fields for each record, and walks through four layers to do so; that costs more than
all that a spout does with the record afterwards. Keys and headers are seldom looked at (a record that breaks, a schema
that asks for them), timestamps only by a spout without a field for the event time, so they stay packed until somebody
does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from stormline.connectors.columns import Columns, Headers, Later
from stormline.connectors.kafka_codecs import unpacked
from stormline.connectors.kafka_records import Lists, read_all, read_headers, read_values


class _Fetch:
    """The batches of one answer of a broker. Offsets and values are read at once; timestamps and keys too if `whole`,
    else when somebody looks at them, as headers always."""

    def __init__(self, *, whole: bool) -> None:
        self.offsets: list[int] = []
        self._values: list[bytes | None] = []
        self._whole = whole
        self._parts: list[Callable[[], Lists]] = []
        self._unpacked: tuple[list[int], list[bytes | None]] | None = None
        self._header_parts: list[Callable[[], list[Headers]]] = []
        self._headers: list[Headers] | None = None

    def add(self, batch: Any) -> None:
        """Raises CorruptRecordError where the records do not end where the batch does."""
        if batch.magic < 2:  # formats before Kafka 0.11
            records = _records_of(batch)
            self._add(records)
            self._header_parts.append(lambda: [()] * len(records.offsets))
            return
        data, position = unpacked(batch)
        count, offset = batch.records_count, batch.base_offset
        self._header_parts.append(partial(_unpack_headers, data, position, count, offset))
        unpack = partial(_unpack, data, position, count, offset, batch.first_timestamp, _append_ms(batch))
        if self._whole or batch.last_offset != offset + count - 1:  # compaction has taken some
            self._add(unpack())
            return
        try:
            read_values(data, position, count, self._values)
        except IndexError as error:
            raise _damaged(offset, error) from error
        self.offsets.extend(range(offset, offset + count))
        self._parts.append(unpack)

    def _add(self, columns: Lists) -> None:
        self.offsets += columns.offsets
        self._values += columns.values
        self._parts.append(lambda: columns)

    def columns(self) -> Columns:
        length = len(self.offsets)
        times, keys, headers = (Later(partial(self.column, column), range(length)) for column in range(3))
        return Columns(self.offsets, times, keys, self._values, headers)

    def column(self, number: int) -> Sequence[Any]:
        """What is unpacked late: 0 timestamps, 1 keys, 2 headers."""
        if number < 2:
            return self._timestamps_and_keys()[number]
        if self._headers is None:
            self._headers = [headers for part in self._header_parts for headers in part()]
            self._header_parts.clear()
        return self._headers

    def _timestamps_and_keys(self) -> tuple[list[int], list[bytes | None]]:
        if self._unpacked is None:
            parts = [part() for part in self._parts]
            self._unpacked = (
                [time_ms for part in parts for time_ms in part.timestamps_ms],
                [key for part in parts for key in part.keys],
            )
            self._parts.clear()
        return self._unpacked


def _unpack(data: bytes, position: int, count: int, offset: int, first_ms: int, append_ms: int | None) -> Lists:
    """All columns of a batch; `append_ms` in the place of the records' own times, if the broker says so."""
    try:
        columns = read_all(data, position, count, offset, first_ms)
    except IndexError as error:
        raise _damaged(offset, error) from error
    return columns if append_ms is None else columns._replace(timestamps_ms=[append_ms] * count)


def _unpack_headers(data: bytes, position: int, count: int, offset: int) -> list[Headers]:
    try:
        return read_headers(data, position, count)
    except IndexError as error:
        raise _damaged(offset, error) from error


def _append_ms(batch: Any) -> int | None:
    """The time at which the broker took the batch, where its topic is set to that (LogAppendTime)."""
    return batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None


def _damaged(offset: int, error: IndexError) -> CorruptRecordError:
    return CorruptRecordError(f"the batch at offset {offset} is damaged: {error}")


def _records_of(batch: Any) -> Lists:
    records = list(batch)
    return Lists(
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
    )


def column_records(max_batch: int, *, timestamps: bool) -> Any:
    """A class to put in the place of kafka-python's `Fetcher.PartitionRecords`: it hands out `Columns` of at most
    `max_batch` records where the original hands out single records. What is aborted, a marker, or below the position
    asked for is left out as in the original, whose methods decide it. `timestamps`: they will be looked at.
    """

    class ColumnRecords(Fetcher.PartitionRecords):
        def _maybe_skip_record(self, _: Columns) -> bool:
            return False  # `_unpack_records` below skips them itself

        def _unpack_records(self, _tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Columns]:
            original: Any = super()
            fetch = _Fetch(whole=timestamps)
            position = self.next_fetch_offset
            try:
                while (batch := records.next_batch()) is not None:
                    if self.check_crcs and not batch.validate_crc():
                        raise CorruptRecordError(f"the checksum of the batch at offset {batch.base_offset} is wrong")
                    if self._is_wanted(batch):
                        fetch.add(batch)
                    position = batch.next_offset
            except Exception:
                original.drain()  # else the fetcher would ask this, which ends here, again and again without a pause
                raise
            # A fetch begins at the start of a batch, which may lie below the offset asked for.
            asked = bisect_left(fetch.offsets, self.fetch_offset)
            columns = fetch.columns()
            for first in range(asked, len(columns.offsets), max_batch):
                piece = columns.cut(first, first + max_batch)
                self.next_fetch_offset = piece.offsets[-1] + 1
                yield piece
            self.next_fetch_offset = max(position, self.next_fetch_offset)
            original.drain()

        def _is_wanted(self, batch: Any) -> bool:
            """Neither a marker nor aborted (KIP-98); keeps account of the transactions."""
            if batch.magic < 2:
                return True
            original: Any = super()
            self.leader_epoch = batch.leader_epoch
            if batch.has_producer_id():
                original._consume_aborted_transactions_up_to(batch.last_offset)
                if original._contains_abort_marker(batch):
                    self.aborted_producer_ids.discard(batch.producer_id)
                elif original._is_batch_aborted(batch):
                    return False
            return not batch.is_control_batch

    return ColumnRecords
