"""Feeds a file into a topic, each row once, however often the feed is killed and started again.

Rows go to partitions by the hash of their key, as every Kafka client does it, and stand there in the order of the file.
So the log itself says how far the feed has come: a partition that ends at offset n holds the first n of its rows.
Each record carries the number of its row in the header `row`; at the start the last record of each partition must carry
the number that this file gives it, else the topic holds something else and the feed refuses.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.partitioner.default import murmur2

from stormline.connectors.feed_file import fed_rows, header, keys, layout
from stormline.connectors.kafka import ClientMaker, client_settings, ensure_topic, reason, unreachable
from stormline.connectors.kafka_appender import Appender
from stormline.core.errors import ServerError, SettingsError, StateError

BATCH_ROWS = 1_000
BATCH_BYTES = 500_000
ANSWER_MS = 10_000


class FeedSettings(NamedTuple):
    """One entry of `feed` in config.json."""

    topic: str
    file: Path
    key: str
    """Column whose text is the key."""
    event_time: str
    """Column of the record's timestamp, ISO 8601."""
    partitions: int


class Fed(NamedTuple):
    """What a feed has done."""

    rows: int
    """Rows of the file."""
    sent: int
    """Rows sent by this run; the others were there."""
    ends: Mapping[int, int]
    """Partition -> its log end behind the last row."""


def feed_settings(feed: object, *, root: Path, where: str = "config.json: feed") -> list[FeedSettings]:
    """The entries of `{topic: {"file": …, "key": …, "event_time": …, "partitions": …}}`; files are below `root`.

    Raises SettingsError with every fault found.
    """
    if not isinstance(feed, Mapping):
        raise SettingsError(f"{where} is {feed!r}; it must name topics, each with its file")
    faults: list[str] = []
    found = [_entry(topic, entry, root, f"{where}.{topic}", faults) for topic, entry in feed.items()]
    if faults:
        raise SettingsError(*faults)
    return [settings for settings in found if settings is not None]


def _entry(topic: str, entry: object, root: Path, where: str, faults: list[str]) -> FeedSettings | None:
    known = ("file", "key", "event_time", "partitions")
    if not isinstance(entry, Mapping):
        faults.append(f"{where} is {entry!r}; it must have {', '.join(known)}")
        return None
    before = len(faults)
    for name in entry:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            faults.append(
                f"{where}.{name} is unknown; " + (f"did you mean {near[0]}?" if near else f"use {', '.join(known)}")
            )
    for name in known[:3]:
        if not isinstance(entry.get(name), str) or not entry[name]:
            faults.append(
                f"{where}.{name} is {entry[name]!r}; it must be text" if name in entry else f"{where}.{name} is missing"
            )
    partitions = entry.get("partitions", 1)
    if type(partitions) is not int or partitions < 1:
        faults.append(f"{where}.partitions is {partitions!r}; it must be a whole number from 1 on")
    if len(faults) > before:
        return None
    file = root / entry["file"]
    try:
        names = header(file)
    except SettingsError as error:
        faults.append(f"{where}.file: {error}")
        return None
    if len(set(names)) < len(names):
        faults.append(f"{where}.file: {file} has a column twice: {', '.join(names)}")
    for name in ("key", "event_time"):
        if entry[name] not in names:
            near = difflib.get_close_matches(entry[name], names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
            faults.append(f"{where}.{name}: {file} has no column {entry[name]}; {hint}")
    return FeedSettings(topic, file, entry["key"], entry["event_time"], partitions)


class Feed:
    """One feed; `run` is called once, on a thread of the caller's."""

    def __init__(self, brokers: str, settings: FeedSettings) -> None:
        self._brokers = brokers
        self._settings = settings
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End `run` soon, from any thread; the next start goes on where it stopped."""
        self._stopped.set()

    def run(self, on_progress: Callable[[int, int], None] | None = None) -> Fed:
        """Create the topic if need be, and send what is not there yet.

        `on_progress(rows that are there or on their way, rows of the file)` is called now and then on this thread.
        Raises SettingsError for the file, StateError for a topic that holds something else, ServerError for Kafka.
        """
        settings = self._settings
        shape = layout(settings.file, event_time=settings.event_time)
        count = ensure_topic(self._brokers, settings.topic, settings.partitions)
        if count != settings.partitions:
            raise StateError(
                f"topic {settings.topic} has {count} partitions, the configuration says {settings.partitions}. Correct "
                "the number, or delete the topic (--fresh)"
            )
        partition_of = lru_cache(1 << 16)(lambda key: (murmur2(key) & 0x7FFFFFFF) % count)
        ends = self._where_it_stopped(partition_of)
        there = sum(ends.values())
        if there == shape.rows:
            return Fed(shape.rows, 0, ends)
        appender = Appender(self._brokers, settings.topic, ends, header=b"row")
        try:
            waiting: dict[int, list[tuple[int, bytes, bytes, bytes]]] = {number: [] for number in ends}
            sizes, left = dict.fromkeys(ends, 0), dict(ends)
            for row in fed_rows(settings.file, shape, key=settings.key, event_time=settings.event_time):
                partition = partition_of(row.key)
                if left[partition]:
                    left[partition] -= 1
                    continue
                batch = waiting[partition]
                batch.append((row.time_ms, row.key, row.value, b"%d" % row.number))
                sizes[partition] += len(row.value)
                if len(batch) == BATCH_ROWS or sizes[partition] > BATCH_BYTES:
                    appender.append(partition, batch)
                    waiting[partition], sizes[partition] = [], 0
                    if on_progress is not None:
                        on_progress(sum(appender.ends.values()), shape.rows)
                    if self._stopped.is_set():
                        break
            else:
                for partition, batch in waiting.items():
                    if batch:
                        appender.append(partition, batch)
            appender.finish()
        finally:
            appender.close()
        return Fed(shape.rows, sum(appender.ends.values()) - there, appender.ends)

    def _where_it_stopped(self, partition_of: Callable[[bytes], int]) -> dict[int, int]:
        """Partition -> log end, checked against the file."""
        ends, last_rows = self._log_ends()
        if not any(ends.values()):
            return ends
        left = dict(ends)
        for number, key in enumerate(keys(self._settings.file, key=self._settings.key), 1):
            partition = partition_of(key)
            left[partition] -= 1
            if left[partition] == 0 and last_rows[partition] not in (None, b"%d" % number):
                self._refuse(f"partition {partition} ends with row {last_rows[partition]!r}, not with row {number}")
        if any(over > 0 for over in left.values()):
            self._refuse("it holds more records than the file has rows")
        return ends

    def _refuse(self, what: str) -> None:
        raise StateError(
            f"topic {self._settings.topic} does not hold the rows of {self._settings.file} and nothing else: {what}. "
            "The file changed, or something else writes to the topic. Delete the topic (--fresh), or feed another one"
        )

    def _log_ends(self) -> tuple[dict[int, int], dict[int, bytes | None]]:
        """Partition -> log end, and the header `row` of its last record; None if retention has deleted it."""
        maker = ClientMaker()
        try:
            consumer: Any = KafkaConsumer(
                **client_settings(self._brokers),
                kafka_client=maker,
                bootstrap_timeout_ms=ANSWER_MS,
                enable_auto_commit=False,
                auto_offset_reset="none",
                metrics_enabled=False,
            )
            addresses = [TopicPartition(self._settings.topic, number) for number in range(self._settings.partitions)]
            ends = consumer.end_offsets(addresses, timeout_ms=ANSWER_MS)
            begins = consumer.beginning_offsets(addresses, timeout_ms=ANSWER_MS)
            last_rows: dict[int, bytes | None] = dict.fromkeys(range(self._settings.partitions))
            unread = {address for address in addresses if ends[address] > begins[address]}
            if unread:
                consumer.assign(list(unread))
            for address in unread:
                consumer.seek(address, ends[address] - 1)
            while unread:
                fetched = consumer.poll(timeout_ms=ANSWER_MS)
                if not fetched:
                    raise KafkaTimeoutError("the last records were not read")
                for address, records in fetched.items():
                    last_rows[address.partition] = dict(records[0].headers).get("row", b"")
                    consumer.pause(address)
                    unread.discard(address)
            return {address.partition: end for address, end in ends.items()}, last_rows
        except KafkaTimeoutError as error:
            raise ServerError(f"topic {self._settings.topic}: {unreachable(self._brokers)}", retriable=True) from error
        except KafkaError as error:
            raise ServerError(f"topic {self._settings.topic} on {self._brokers}: {reason(error)}") from error
        finally:
            maker.close()
