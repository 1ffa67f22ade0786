"""The key of a keyed bolt: what it may be, and how it is read from a record."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

import msgspec

from stormline.core.errors import SettingsError
from stormline.core.slot import NOT_KEYS, SLOTS, KeyColumn, key_column

SLOTS_KEY = "stormline.slots"
"""Key of a topology's `config`."""


def slots_of_conf(conf: Mapping[str, Any]) -> int:
    """Over how many slots the keys of a topology are spread. Raises SettingsError: no whole number above 0."""
    slots = conf.get(SLOTS_KEY, SLOTS)
    if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
        raise SettingsError(f"{SLOTS_KEY} is {slots!r}; it must be a whole number above 0")
    return slots


def keys_of(cls: Any) -> KeyColumn:
    """From records to the texts of their keys, for this class of bolt."""
    return key_column(cls.key, none_is_key=cls.none_is_key)


def key_setting(value: Any) -> None:
    """Check: a key."""
    names = value if isinstance(value, tuple) else (value,)
    if not callable(value) and not (names and all(isinstance(name, str) and name for name in names)):
        raise ValueError("give a field, a tuple of fields, or a function of the record; leave it out for no key")
    if callable(value):
        said = inspect.signature(value).return_annotation
        name = said if isinstance(said, str) else getattr(get_origin(said) or said, "__name__", "")
        if name.partition("[")[0] in {kind.__name__ for kind in NOT_KEYS}:
            raise ValueError(f"the function returns a {name}, which is no key; a tuple of plain values is one")


def flag(value: Any) -> None:
    """Check: true or false."""
    if not isinstance(value, bool):
        raise ValueError("give True or False")


def key_faults(cls: Any, schema: type[msgspec.Struct]) -> list[str]:
    """What of a class's key is no field of the records it reads, or a field that can be no key."""
    named = () if cls.key is None or callable(cls.key) else (cls.key,) if isinstance(cls.key, str) else cls.key
    hints = get_type_hints(schema)
    faults = []
    for field in named:
        hint = hints.get(field)
        if field not in hints:
            faults.append(f"{cls.__name__}: the key {field!r} is no field of {schema.__name__} ({', '.join(hints)})")
        elif (get_origin(hint) or hint) in NOT_KEYS:
            faults.append(f"{cls.__name__}: the key {field!r} is a {hint}, which is no key; it has to be a plain value")
    return faults
