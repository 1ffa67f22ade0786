"""Feeds the rows of a file or a program into a topic, each once, however often the feed is killed and started again.

Rows go to partitions by the hash of their key, as every Kafka client does it, those without a key in turn, and stand
there in the source's order. So the log itself says how far the feed has come: a partition that ends at offset n holds
the first n of its rows. Each record carries the number of its row in the header `row`; at the start the last record of
each partition must carry the number that this source gives it, else the topic holds something else: the feed refuses.
Dead letters that were sent again (`sparse dlq replay`) are known by their header, and are no rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.partitioner.default import murmur2

from stormline.connectors.brokers import Brokers
from stormline.connectors.feed_file import Content
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.kafka import ANSWER_MS, FED, REPLAYED, ensure_topic, looking
from stormline.connectors.kafka_appender import Appender
from stormline.core.errors import StateError

BATCH_ROWS = 1_000
BATCH_BYTES = 500_000
SLICE_S = 0.1
"""With a rate, rows are sent so often."""


class _Pace:
    """So many rows a second, in slices of a tenth of it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._slice = max(1, int(rate * SLICE_S))
        self._rows = 0
        self._began_s = time.monotonic()

    def rest_s(self) -> float | None:
        """One row more: None, or at the end of a slice how long to rest."""
        self._rows += 1
        if self._rows % self._slice:
            return None
        return max(0.0, self._began_s + self._rows / self._rate - time.monotonic())


class Fed(NamedTuple):
    """What a feed has done."""

    rows: int
    """Rows of the source."""
    sent: int
    """Rows sent by this run; the others were there."""
    ends: Mapping[int, int]
    """Partition -> its log end behind the last row."""


class Feed:
    """One feed; `run` is called once, on a thread of the caller's."""

    def __init__(self, brokers: Brokers, settings: FeedSettings, *, rate: float | None = None) -> None:
        """`rate`: rows a second, at most; None: as many as can be."""
        self._brokers = brokers
        self._settings = settings
        self._rate = rate
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` soon, from any thread; the next start goes on where it stopped."""
        self._stopped.set()

    def run(self, on_progress: Callable[[int, int], None] | None = None) -> Fed:
        """Create the topic if need be, and send what is not there yet.

        `on_progress(rows that are there or on their way, rows of the source)` is called now and then on this thread.
        Raises SettingsError for the source, StateError for a topic that holds something else, ServerError for Kafka.
        """
        settings = self._settings
        content = settings.source.content()
        count = ensure_topic(self._brokers, settings.topic, settings.partitions, configs=FED)
        if count != settings.partitions:
            raise StateError(
                f"topic {settings.topic} has {count} partitions, not {settings.partitions} as the feed is to have. "
                "Correct the number, or delete the topic (--fresh)"
            )
        hashed = lru_cache(1 << 16)(lambda key: (murmur2(key) & 0x7FFFFFFF) % count)

        def partition_of(number: int, key: bytes | None) -> int:
            return number % count if key is None else hashed(key)

        ends, left = self._where_it_stopped(content, partition_of)
        there = sum(left.values())
        if there == content.total:
            return Fed(content.total, 0, ends)
        appender = Appender(self._brokers, settings.topic, ends, header=b"row")
        try:
            waiting: dict[int, list[tuple[int, bytes | None, bytes, bytes]]] = {number: [] for number in ends}
            sizes, before = dict.fromkeys(ends, 0), sum(ends.values()) - there
            pace = None if self._rate is None else _Pace(self._rate)

            def send(partition: int) -> None:
                if waiting[partition]:
                    appender.append(partition, waiting[partition])
                    waiting[partition], sizes[partition] = [], 0
                    if on_progress is not None:
                        on_progress(sum(appender.ends.values()) - before, content.total)

            for row in content.rows():
                partition = partition_of(row.number, row.key)
                if left[partition]:
                    left[partition] -= 1
                    continue
                time_ms = time.time_ns() // 1_000_000 if row.time_ms is None else row.time_ms
                waiting[partition].append((time_ms, row.key, row.value, b"%d" % row.number))
                sizes[partition] += len(row.value)
                if len(waiting[partition]) == BATCH_ROWS or sizes[partition] > BATCH_BYTES:
                    send(partition)
                if pace is not None and (rest_s := pace.rest_s()) is not None:
                    for each in waiting:
                        send(each)
                    self._stopped.wait(rest_s)
                if self._stopped.is_set():
                    break
            else:
                for each in waiting:
                    send(each)
            appender.finish()
        finally:
            appender.close()
        return Fed(content.total, sum(appender.ends.values()) - before - there, appender.ends)

    def _where_it_stopped(
        self, content: Content, partition_of: Callable[[int, bytes | None], int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Partition -> log end, and partition -> rows that are there, checked against the source."""
        ends, last = self._log_ends()
        rows = ends
        if any(ends.values()) and self._wrong(content, partition_of, rows, last) is not None:
            rows, last = self._rows_there(ends)
            if (what := self._wrong(content, partition_of, rows, last)) is not None:
                raise StateError(
                    f"topic {self._settings.topic} does not hold the rows of {self._settings.source} and nothing else: "
                    f"{what}. The source changed, or something else writes to the topic. Delete the topic (--fresh), "
                    "or feed another one"
                )
        return ends, dict(rows)

    def _wrong(
        self,
        content: Content,
        partition_of: Callable[[int, bytes | None], int],
        rows: Mapping[int, int],
        last: Mapping[int, bytes | None],
    ) -> str | None:
        """Why so many rows of each partition, and these as the last ones, cannot come from this source."""
        left = dict(rows)
        for number, key in enumerate(content.keys(), 1):
            partition = partition_of(number, key)
            left[partition] -= 1
            if left[partition] == 0 and last[partition] not in (None, b"%d" % number):
                return f"partition {partition} ends with row {last[partition]!r}, not with row {number}"
        if any(over > 0 for over in left.values()):
            return "it holds more records than the source has rows"
        return None

    def _log_ends(self) -> tuple[dict[int, int], dict[int, bytes | None]]:
        """Partition -> log end, and the header `row` of its last record; None if retention has deleted it."""
        with self._consumer() as (consumer, addresses):
            ends = consumer.end_offsets(addresses, timeout_ms=ANSWER_MS)
            begins = consumer.beginning_offsets(addresses, timeout_ms=ANSWER_MS)
            last_rows: dict[int, bytes | None] = dict.fromkeys(range(self._settings.partitions))
            starts = {address: ends[address] - 1 for address in addresses if ends[address] > begins[address]}
            for address, record in _read(consumer, starts, ends):
                last_rows[address.partition] = dict(record.headers).get("row", b"")
            return {address.partition: end for address, end in ends.items()}, last_rows

    def _rows_there(self, ends: Mapping[int, int]) -> tuple[dict[int, int], dict[int, bytes | None]]:
        """The same without dead letters that were sent again, which are no further rows: all of the log is read."""
        rows = dict(ends)
        last_rows: dict[int, bytes | None] = dict.fromkeys(ends)
        with self._consumer() as (consumer, addresses):
            begins = consumer.beginning_offsets(addresses, timeout_ms=ANSWER_MS)
            starts = {address: begins[address] for address in addresses if ends[address.partition] > begins[address]}
            until = {address: ends[address.partition] for address in addresses}
            for address, record in _read(consumer, starts, until):
                headers = dict(record.headers)
                if REPLAYED in headers:
                    rows[address.partition] -= 1
                else:
                    last_rows[address.partition] = headers.get("row", b"")
        return rows, last_rows

    @contextmanager
    def _consumer(self) -> Iterator[tuple[Any, list[Any]]]:
        """With the addresses of the topic's partitions."""
        settings = self._settings
        with looking(self._brokers, f"topic {settings.topic}") as consumer:
            yield consumer, [TopicPartition(settings.topic, number) for number in range(settings.partitions)]


def _read(consumer: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]) -> Iterator[tuple[Any, Any]]:
    """Each record of these partitions from its start to its end, with its partition."""
    unread = set(starts)
    if unread:
        consumer.assign(list(unread))
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
