"""Read results back from Redis: one row a key and window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import redis

from stormline.connectors.redis_commands import WindowEntry, slot_tag, window_name
from stormline.connectors.slots import stored_slots
from stormline.core.slot import key_text, key_value, slot_of

_entry = msgspec.json.Decoder(WindowEntry).decode


class Row(NamedTuple):
    """The result of one key in one window."""

    component: str
    key: Any
    """The key's JSON value; None for a bolt without a key."""
    start_ms: int
    end_ms: int
    state: str
    """open | final"""
    revision: int
    values: dict[str, Any]
    """Aggregates by name, as JSON has them: decimals are texts, times ISO 8601."""
    window: str
    """Kind and size of the window; tells the windows of a bolt with several apart."""


class LateRecord(NamedTuple):
    """A record that came after its window had closed: kept and counted, in no result."""

    component: str
    number: int
    key: Any
    window: str
    time_ms: int
    partition: str
    offset: int
    record: dict[str, Any]


class Results:
    """The results of one app."""

    def __init__(self, client: redis.Redis, app: str) -> None:
        self._client = client
        self._app = app
        self._slots = stored_slots(client, app)

    def components(self) -> list[str]:
        """Components that have windows in Redis, by name."""
        tag = re.compile(re.escape(f"{{{self._app}:") + r"(.+):\d+\}:windows")
        names = (tag.fullmatch(key.decode()) for key in self._client.scan_iter(match="*:windows", count=1000))
        return sorted({match[1] for match in names if match is not None})

    def rows(self, component: str, *, key: Any = None) -> Iterator[Row]:
        """Rows of a component, by start of the window, then by key; with `key` (its value) those of this key alone."""
        wanted = None if key is None else key_text(key)
        slots = range(self._slots) if wanted is None else [slot_of(wanted, self._slots)]
        windows = self._windows(component, slots)
        for start_ms, entries in sorted(windows.items()):
            pipeline = self._client.pipeline(transaction=False)
            for hash_key, _, _ in entries:
                if wanted is None:
                    pipeline.hgetall(hash_key)
                else:
                    pipeline.hmget(hash_key, [wanted])
            rows = []
            for (_, name, entry), answer in zip(entries, pipeline.execute(), strict=True):
                fields = answer.items() if wanted is None else [(wanted.encode(), answer[0])]
                for field, value in fields:
                    if value is not None:
                        values = msgspec.json.decode(value)
                        key = key_value(field.decode())
                        rows.append(Row(component, key, start_ms, entry.end, entry.state, entry.revision, values, name))
            yield from sorted(rows, key=row_order)

    def _windows(self, component: str, slots: Any) -> dict[int, list[tuple[str, str, WindowEntry]]]:
        """Start -> (key of the hash with the rows, name of the window, index entry), over the slots."""
        tags = [slot_tag(self._app, component, slot) for slot in slots]
        pipeline = self._client.pipeline(transaction=False)
        for tag in tags:
            pipeline.hgetall(f"{tag}:windows")
        windows: dict[int, list[tuple[str, str, WindowEntry]]] = {}
        for tag, index in zip(tags, pipeline.execute(), strict=True):
            for field, raw in index.items():
                window, entry = field.decode(), _entry(raw)
                windows.setdefault(entry.start, []).append((f"{tag}:w:{window}", window_name(window)[0], entry))
        return windows

    def late(self, component: str) -> tuple[int, list[LateRecord]]:
        """How many records of a component were late, ever, and the latest of them (at most 1,000 a slot)."""
        pipeline = self._client.pipeline(transaction=False)
        for slot in range(self._slots):
            tag = slot_tag(self._app, component, slot)
            pipeline.hget(f"{tag}:slot", "late")
            pipeline.hvals(f"{tag}:late")
        answers = pipeline.execute()
        count = sum(int(answer or 0) for answer in answers[::2])
        records = [LateRecord(component, **msgspec.json.decode(raw)) for raws in answers[1::2] for raw in raws]
        return count, sorted(records, key=late_order)


def key_order(key: Any) -> tuple[int, Any]:
    """Numbers by value, then everything else by its text."""
    if isinstance(key, int | float) and not isinstance(key, bool):
        return (0, key)
    return (1, "" if key is None else key_text(key))


def row_order(row: Row) -> tuple[Any, ...]:
    """By start, then by key, then by end."""
    return row.start_ms, key_order(row.key), row.end_ms, row.window


def late_order(late: LateRecord) -> tuple[int, str, int]:
    """By event time, then by origin."""
    return late.time_ms, late.partition, late.offset
