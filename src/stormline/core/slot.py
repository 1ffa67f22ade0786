"""Keys and slots: the unit of keyed state.

One canonical text of a key serves the hash, the dict in memory, the field in Redis and `--key`: the JSON of the key, so
that 1, 1.0, "1" and true are four keys. A bolt without a key has the one key "" (no JSON text is empty).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from operator import attrgetter
from typing import Any, Final

import msgspec

SLOTS = 64
"""Unless the topology says otherwise (`stormline.slots`). A number that is part of each key: ownership, atomic flush,
deduplication and fencing are per slot."""

NO_KEY = ""

REMEMBERED_KEYS = 100_000
REMEMBERED_LENGTH = 100
"""Keys that come again are the rule: so many, up to so many characters, are not made into text or hashed again."""

_encode = msgspec.json.Encoder(order="deterministic", decimal_format="string").encode


def key_text(key: Any) -> str:
    """The canonical text of a key. Raises TypeError for a value that JSON cannot hold, ValueError for a long one."""
    text = _encode(key).decode()
    if len(text) > LONGEST_KEY:
        raise ValueError(f"the key has {len(text)} characters ({text[:40]}…), and may have {LONGEST_KEY}")
    return text


def key_value(text: str) -> Any:
    """The JSON value of a canonical text; None for a bolt without a key."""
    return None if text == NO_KEY else msgspec.json.decode(text)


def slot_of(text: str, slots: int = SLOTS) -> int:
    """The slot of a canonical key text."""
    return zlib.crc32(text.encode()) % slots


class _Remembered(dict[Any, Any]):
    """What a function made of a key, for keys of one type; all is forgotten when it is too much."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __missing__(self, key: Any) -> Any:
        value = self._function(key)
        if not isinstance(key, str) or len(key) <= REMEMBERED_LENGTH:
            if len(self) >= REMEMBERED_KEYS:
                self.clear()
            self[key] = value
        return value


_slots: dict[int, _Remembered] = {}


def slots_of(texts: Sequence[str], slots: int = SLOTS) -> list[int]:
    """The slots of a column of canonical key texts."""
    if slots not in _slots:
        _slots[slots] = _Remembered(partial(slot_of, slots=slots))
    return list(map(_slots[slots].__getitem__, texts))


def owner_index(slot: int, tasks: int) -> int:
    """Which of a component's tasks (ascending ids) Storm's fields grouping sends this slot to.

    Storm hashes the one-element list of values as Java's List.hashCode: 31 + the hash of an int, which is itself.
    """
    return (31 + slot) % tasks


def owned_slots(index: int, tasks: int, slots: int = SLOTS) -> list[int]:
    """The slots of the task at this index, ascending."""
    return [slot for slot in range(slots) if owner_index(slot, tasks) == index]


Key = str | tuple[str, ...] | Callable[[Any], Any] | None

LONGEST_KEY = 65_536
"""Characters of a key's text. It stands in each row, each flush and the memory of its task."""

NOT_KEYS: Final = (list, dict, set, frozenset, bytearray)
"""Types that are no keys: they can change, or have no order of their own."""


KeyColumn = Callable[[Sequence[Any]], list[str]]
"""From records to the canonical texts of their keys. Raises what the user's function raises on any of them."""


def key_column(key: Key, *, none_is_key: bool = False) -> KeyColumn:
    """The texts of a column of records, from a `key` setting: field, fields, function, or None for no key.

    The column raises ValueError for a key that is None (unless that is a key), no key at all, or too long.
    """
    if key is None:
        return lambda records: [NO_KEY] * len(records)
    read: Callable[[Any], Any]
    if isinstance(key, str):
        read = attrgetter(key)
    elif isinstance(key, tuple):
        read = attrgetter(*key) if len(key) > 1 else lambda record: (getattr(record, key[0]),)
    else:
        read = key
    # By type, as 1, 1.0 and True are one key to a dict.
    remembered: dict[type, _Remembered] = {kind: _Remembered(key_text) for kind in (str, int)}

    def column(records: Sequence[Any]) -> list[str]:
        keys = [read(record) for record in records] if callable(key) else list(map(read, records))
        kinds = set(map(type, keys))
        if len(kinds) == 1 and (texts := remembered.get(kinds.pop())) is not None:
            return list(map(texts.__getitem__, keys))
        return [_checked(key, none_is_key) for key in keys]

    return column


def _checked(key: Any, none_is_key: bool) -> str:
    parts = key if isinstance(key, tuple) else (key,)
    if None in parts and not none_is_key:
        raise ValueError(
            "the key is None; filter such records out first, give them a key of their own, or say none_is_key = True"
        )
    for part in parts:
        if isinstance(part, NOT_KEYS):
            raise ValueError(f"the key is a {type(part).__name__}, which is no key; a tuple of plain values is one")
        if isinstance(part, float) and not isfinite(part):
            raise ValueError(f"the key is {part}, which JSON cannot hold")
    return key_text(key)
