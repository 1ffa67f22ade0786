"""Keys and slots: the unit of keyed state.

One canonical text of a key serves the hash, the dict in memory, the field in Redis and `--key`: the JSON of the key, so
that 1, 1.0, "1" and true are four keys. A bolt without a key has the one key "" (no JSON text is empty).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

SLOTS = 64
"""Fixed for the life of the data: ownership, atomic flush, deduplication and fencing are per slot."""

NO_KEY = ""

_encode = msgspec.json.Encoder(order="deterministic", decimal_format="string").encode


def key_text(key: Any) -> str:
    """The canonical text of a key. Raises TypeError for a value that JSON cannot hold."""
    return _encode(key).decode()


def key_value(text: str) -> Any:
    """The JSON value of a canonical text; None for a bolt without a key."""
    return None if text == NO_KEY else msgspec.json.decode(text)


def slot_of(text: str) -> int:
    """The slot of a canonical key text."""
    return zlib.crc32(text.encode()) % SLOTS


def owner_index(slot: int, tasks: int) -> int:
    """Which of a component's tasks (ascending ids) Storm's fields grouping sends this slot to.

    Storm hashes the one-element list of values as Java's List.hashCode: 31 + the hash of an int, which is itself.
    """
    return (31 + slot) % tasks


def owned_slots(index: int, tasks: int) -> list[int]:
    """The slots of the task at this index, ascending."""
    return [slot for slot in range(SLOTS) if owner_index(slot, tasks) == index]


Key = str | tuple[str, ...] | Callable[[Any], Any] | None


def key_reader(key: Key) -> Callable[[Any], str]:
    """From a `key` setting (field, fields, function, or None for no key) the function record -> canonical text."""
    if key is None:
        return lambda record: NO_KEY
    read: Callable[[Any], Any]
    if isinstance(key, str):
        read = attrgetter(key)
    elif isinstance(key, tuple):
        read = attrgetter(*key) if len(key) > 1 else lambda record: (getattr(record, key[0]),)
    else:
        read = key
    return lambda record: _required(read(record))


def _required(key: Any) -> str:
    if key is None:
        raise ValueError("the key is None; filter such records out first, or give them a key of their own")
    return key_text(key)
