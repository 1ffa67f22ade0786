"""Feeds the rows of a file or a program into a topic, each once, however often the feed is killed and started again.

Rows go to partitions by the hash of their key, as every Kafka client does it, those without a key in turn, and stand
there in the source's order, each with its number in the header `row`. So the log itself says how far the feed has come
(`feed_resume.py`), and a topic that holds something else is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from kafka.partitioner.default import murmur2

from stormline.connectors.brokers import Brokers
from stormline.connectors.feed_resume import DELETE, resumed
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.kafka import FED, ensure_topic
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
                f"Correct the number, or feed another topic, or {DELETE}"
            )
        hashed = lru_cache(1 << 16)(lambda key: (murmur2(key) & 0x7FFFFFFF) % count)

        def partition_of(number: int, key: bytes | None) -> int:
            return number % count if key is None else hashed(key)

        ends, rows = resumed(self._brokers, settings, content, partition_of)
        left, there = dict(rows), sum(rows.values())
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
