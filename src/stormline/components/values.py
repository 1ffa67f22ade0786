"""What a value in Kafka is read as: JSON, msgpack, text, bytes, or what the user's own decoder makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from stormline.components.from_kafka import NO_VALUE, Unfit, alternatives, mark_faults, marked

JSON, MSGPACK, TEXT, BYTES = "json", "msgpack", "text", "bytes"
_WHOLE = {TEXT: str, BYTES: bytes}
"""Values that fill one field."""


def value_setting(value: Any) -> None:
    """Check: a kind of value."""
    if value not in (JSON, MSGPACK, TEXT, BYTES):
        raise ValueError(f'give "{JSON}", "{MSGPACK}", "{TEXT}" or "{BYTES}"; for any other form write a method decode')


def schema_faults(cls: Any, *, own: bool) -> list[str]:
    """What of a spout's schema does not go with its event time and values. `own`: it has its own decoder."""
    schema, kind = cls.schema, _WHOLE.get(cls.value)
    faults = mark_faults(cls.__name__, schema)
    marks = marked(schema)
    if cls.event_time is not None and cls.event_time not in schema.__struct_fields__:
        fields = ", ".join(schema.__struct_fields__)
        faults.append(f"{cls.__name__}: event_time = {cls.event_time!r} is no field of {schema.__name__} ({fields})")
    if own:
        if cls.value != JSON:
            faults.append(f"{cls.__name__} has value = {cls.value!r} and a method decode; leave one of them out")
        faults += [
            f"{cls.__name__}: {schema.__name__}.{field.name} is {marks[field.name]}; with a method decode, which "
            "makes the record, it needs a default"
            for field in msgspec.structs.fields(schema)
            if field.name in marks and field.required
        ]
    elif kind is not None:
        unmarked = [field for field in msgspec.structs.fields(schema) if field.name not in marks]
        if len(unmarked) != 1 or kind not in alternatives(unmarked[0].type):
            faults.append(
                f"{cls.__name__}: value = {cls.value!r} fills one field of type {kind.__name__}; {schema.__name__} has "
                f"{', '.join(field.name for field in unmarked) or 'none'}"
            )
    return faults


def value_decoder(
    schema: type[msgspec.Struct], value: str, own: Callable[[bytes], Any] | None
) -> Callable[[bytes], Any]:
    """From the bytes of a value to a `schema`. Whatever the kind, it raises for a value that is not there: a tombstone
    comes to it where all seems well."""
    if own is not None:
        return _checked(own, schema)
    if value == JSON:
        return msgspec.json.Decoder(schema).decode
    if value == MSGPACK:
        return msgspec.msgpack.Decoder(schema).decode
    (name,) = schema.__struct_fields__
    if value == TEXT:
        return lambda raw: schema(**{name: raw.decode()})

    def whole(raw: bytes) -> Any:
        return schema(**{name: _there(raw)})

    return whole


def _there(raw: bytes | None) -> bytes:
    if raw is None:
        raise Unfit(NO_VALUE)
    return raw


def _checked(own: Callable[[bytes], Any], schema: type[msgspec.Struct]) -> Callable[[bytes], Any]:
    def decode(raw: bytes) -> Any:
        record = own(_there(raw))
        if not isinstance(record, schema):
            raise TypeError(f"decode returned {record!r}, which is no {schema.__name__}")
        return record

    return decode
