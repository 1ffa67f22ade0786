"""How far a feed has come, as the log of its topic says, and whether what is there came from the same source.

A partition that ends at offset n holds the first n of its rows. The last record of each has to be the row that the
source gives there: its number (the header `row`), key, value, and timestamp where the source has one. What stands
before it is not read: in a topic that only this feed writes to, it cannot be something else.

Dead letters that were sent again (`sparse dlq replay`) are known by their header, and are no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from stormline.connectors.brokers import Brokers
from stormline.connectors.feed_file import Content, FedRow
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.kafka import ANSWER_MS, REPLAYED, looking
from stormline.core.errors import StateError

DELETE = "delete this one, as `sparse run --fresh` does with those that config.json feeds"
SHOWN = 120
"""Characters of a value in a message."""
_CREATE_TIME = 0
"""The timestamp is that of whoever sent the record, not the broker's."""
PartitionOf = Callable[[int, bytes | None], int]
"""Number and key of a row -> its partition."""


class Resumed(NamedTuple):
    """Where a feed goes on."""

    ends: Mapping[int, int]
    """Partition -> log end."""
    rows: Mapping[int, int]
    """Partition -> rows that are there."""


class _Held(NamedTuple):
    """What the partitions hold."""

    rows: Mapping[int, int]
    last: Mapping[int, Any]
    """Partition -> its last row as a record; None if there is none, or retention has deleted it."""


def resumed(brokers: Brokers, settings: FeedSettings, content: Content, partition_of: PartitionOf) -> Resumed:
    """Looks into the topic, which exists. Raises StateError if it holds something else, ServerError for Kafka."""
    addresses = [TopicPartition(settings.topic, number) for number in range(settings.partitions)]
    with looking(brokers, f"topic {settings.topic}") as consumer:
        log_ends = consumer.end_offsets(addresses, timeout_ms=ANSWER_MS)
        begins = consumer.beginning_offsets(addresses, timeout_ms=ANSWER_MS)
        ends = {address.partition: end for address, end in log_ends.items()}
        if not any(ends.values()):
            return Resumed(ends, ends)
        filled = [address for address in addresses if log_ends[address] > begins[address]]
        last = dict.fromkeys(ends)
        for address, record in _read(consumer, {each: log_ends[each] - 1 for each in filled}, log_ends):
            last[address.partition] = record
        held = _Held(ends, last)
        if _difference(settings.topic, content, partition_of, held) is not None:
            held = _without_replayed(consumer, {each: begins[each] for each in filled}, log_ends)
    if (what := _difference(settings.topic, content, partition_of, held)) is not None:
        raise StateError(
            f"topic {settings.topic} does not hold the rows of {settings.source} and nothing else: {what}. Feed it "
            "from what it was fed from before, with the same key and event time; or feed another topic, or "
            f"{DELETE}"
        )
    return Resumed(ends, held.rows)


def _without_replayed(consumer: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]) -> _Held:
    """Dead letters that were sent again are no further rows: all of the log is read."""
    rows = {address.partition: end for address, end in ends.items()}
    last: dict[int, Any] = dict.fromkeys(rows)
    for address, record in _read(consumer, starts, ends):
        if REPLAYED in dict(record.headers):
            rows[address.partition] -= 1
        else:
            last[address.partition] = record
    return _Held(rows, last)


def _difference(topic: str, content: Content, partition_of: PartitionOf, held: _Held) -> str | None:
    """Why so many rows of each partition, and these as the last ones, cannot come from this source."""
    for partition, record in held.last.items():
        if record is not None and _number(record) is None:
            return f"{topic}/{partition} ends with a record, at offset {record.offset}, that no feed has sent"
    left = dict(held.rows)
    awaited = {partition for partition, rows in left.items() if rows}
    for row in content.rows():
        partition = partition_of(row.number, row.key)
        left[partition] -= 1
        if left[partition] == 0:
            record = held.last[partition]
            if record is not None and (what := _differs(record, row, content)) is not None:
                return f"{topic}/{partition} ends with {what}"
            awaited.remove(partition)
        if not awaited:
            return None
    for partition in awaited:
        rows, record = held.rows[partition], held.last[partition]
        told = f"{topic}/{partition} holds {rows:,} rows, of the source there are {rows - left[partition]:,} for it"
        return told if record is None else told + _own(record, content)
    return None


def _differs(record: Any, row: FedRow, content: Content) -> str | None:
    """How the record is another one than the row, and what it is instead."""
    number = _number(record)
    if number != row.number:
        return f"row {number}, where row {row.number} of the source belongs{_own(record, content)}"
    unlike = _unlike(record, row)
    return None if unlike is None else f"row {number}, but {unlike}"


def _own(record: Any, content: Content) -> str:
    """How the record differs from the row of its number: that its key does says more than that it is elsewhere."""
    row = next((row for row in content.rows() if row.number == _number(record)), None)
    unlike = "the source has no such row" if row is None else _unlike(record, row)
    return "" if unlike is None else f"; {unlike}"


def _number(record: Any) -> int | None:
    """Which row it is; None: it is none."""
    number = dict(record.headers).get("row") or b""
    return int(number) if number.isdigit() else None


def _unlike(record: Any, row: FedRow) -> str | None:
    """In what a record with the number of the row is not the row: the value says most, then the key."""
    pairs: list[tuple[str, Any, Any]] = [("value", record.value, row.value), ("key", record.key, row.key)]
    if row.time_ms is not None and record.timestamp_type == _CREATE_TIME:
        pairs.append(("timestamp", record.timestamp, row.time_ms))
    for name, there, wanted in pairs:
        if there != wanted:
            return f"its {name} there is {_shown(there)}, by the source {_shown(wanted)}"
    return None


def _shown(part: bytes | int | None) -> str:
    """For a message: on one line, and cut where it is long."""
    if part is None:
        return "none"
    text = f"{part} ms" if isinstance(part, int) else " ".join(part.decode(errors="backslashreplace").split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _read(consumer: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]) -> Iterator[tuple[Any, Any]]:
    """Each record of these partitions from its start to its end, with its partition."""
    unread = set(starts)
    if unread:
        consumer.assign(list(unread))
        consumer.resume(*unread)  # a reading before has paused them
    for address, offset in starts.items():
        consumer.seek(address, offset)
    while unread:
        fetched = consumer.poll(timeout_ms=ANSWER_MS)
        if not fetched:
            raise KafkaTimeoutError("the last records were not read")
        for address, records in fetched.items():
            for record in records:
                if record.offset < ends[address]:
                    yield address, record
            if address in unread and records[-1].offset >= ends[address] - 1:
                consumer.pause(address)
                unread.discard(address)
