"""Fields of a record that come from the message around the value: key, headers, timestamp, origin, tombstone.

A schema without such fields costs nothing for them: keys, timestamps and headers stay packed until somebody looks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec

from stormline.core.record import Origin

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class FromKafka(enum.Enum):
    """Marks a field of a schema that is not in the value: `user: Annotated[str, FromKafka.key]`."""

    key = "key"
    """The record's key: bytes, or whatever its UTF-8 text can be read as (str, int, Decimal, an enum, a UUID)."""
    headers = "headers"
    """`dict[str, bytes]`; of several with one name the last, `b""` for one without a value."""
    timestamp = "timestamp"
    """The timestamp of the Kafka record: int (ms since the epoch) or datetime (UTC)."""
    origin = "origin"
    """str: `topic/partition/offset`."""
    tombstone = "tombstone"
    """bool. A schema with this field gets records without a value too; their other fields have their defaults."""


class Unfit(ValueError):
    """What is wrong with a record, in words of ours: who reads them needs no place in the code."""


NO_VALUE = "it has no value (a tombstone)"


class Arrived(NamedTuple):
    """What Kafka has besides the value."""

    partition: str
    offset: int
    timestamp_ms: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    tombstone: bool


def marked(schema: type[msgspec.Struct]) -> dict[str, FromKafka]:
    """The fields that do not come from the value, and what they are."""
    found = {}
    for field in msgspec.structs.fields(schema):
        for mark in getattr(field.type, "__metadata__", ()):
            if isinstance(mark, FromKafka):
                found[field.name] = mark
    return found


def alternatives(kind: Any) -> set[Any]:
    """The types of a union, or the one type; without `Annotated`."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return {each for part in get_args(kind) for each in alternatives(part)}
    return {kind}


_TAKES: Mapping[FromKafka, tuple[str, Sequence[Any]]] = {
    FromKafka.headers: ("dict[str, bytes]", (dict[str, bytes],)),
    FromKafka.timestamp: ("int or datetime", (int, datetime)),
    FromKafka.origin: ("str", (str,)),
    FromKafka.tombstone: ("bool", (bool,)),
}


def mark_faults(cls_name: str, schema: type[msgspec.Struct]) -> list[str]:
    """Marked fields of a type that cannot hold what they ask for; fields that a tombstone could not fill."""
    marks, faults = marked(schema), []
    for field in msgspec.structs.fields(schema):
        mark = marks.get(field.name)
        words, kinds = _TAKES.get(mark, ("", ())) if mark is not None else ("", ())
        if kinds and not (len(found := alternatives(field.type)) == 1 and found <= set(kinds)):
            faults.append(f"{cls_name}: {schema.__name__}.{field.name} is {mark}, so its type must be {words}")
        if mark is None and field.required and FromKafka.tombstone in marks.values():
            faults.append(
                f"{cls_name}: {schema.__name__} asks for tombstones, which have no value: give its field "
                f"{field.name} a default"
            )
    return faults


class MarkedValues:
    """Makes records of a schema with marked fields. `decode` reads a value; `own`: it is the user's and gives whole
    records, in which the marked fields are replaced."""

    def __init__(
        self, schema: type[msgspec.Struct], decoder: Callable[[Any], Callable[[bytes], Any]], *, own: bool
    ) -> None:
        self._schema = schema
        marks = marked(schema)
        types = {field.name: field.type for field in msgspec.structs.fields(schema)}
        self._fill = [(name, _filler(mark, types[name])) for name, mark in marks.items()]
        self._tombstones = FromKafka.tombstone in marks.values()
        self._own = own
        self._names = [name for name in schema.__struct_fields__ if name not in marks]
        self._decode = decoder(schema if own else _body(schema, self._names))
        self._getters = [attrgetter(name) for name in self._names]

    def record(self, value: bytes | None, message: Arrived) -> Any:
        """Raises what the decoder raises, or Unfit for what a marked field cannot be."""
        if value is None and not self._tombstones:
            raise Unfit(NO_VALUE)
        filled = {name: fill(message) for name, fill in self._fill}
        if value is None:
            return self._schema(**filled)
        body = self._decode(value)
        if self._own:
            return msgspec.structs.replace(body, **filled)
        return self._schema(**{n: get(body) for n, get in zip(self._names, self._getters, strict=True)}, **filled)


def _body(schema: type[msgspec.Struct], names: Sequence[str]) -> type[msgspec.Struct]:
    """The part of a schema that is in the value, with its names and rules on the wire."""
    fields: list[Any] = []
    wire = {}
    for field in msgspec.structs.fields(schema):
        if field.name in names:
            wire[field.name] = field.encode_name
            if field.default_factory is not msgspec.NODEFAULT:
                fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
            elif field.default is not msgspec.NODEFAULT:
                fields.append((field.name, field.type, field.default))
            else:
                fields.append((field.name, field.type))
    config = schema.__struct_config__
    return msgspec.defstruct(
        schema.__name__,
        fields,
        rename=wire,
        kw_only=True,
        tag=config.tag,
        tag_field=config.tag_field,
        array_like=config.array_like,
        forbid_unknown_fields=config.forbid_unknown_fields,
    )


def _filler(mark: FromKafka, kind: Any) -> Callable[[Arrived], Any]:
    if mark is FromKafka.key:
        return _key_filler(kind)
    if mark is FromKafka.headers:
        return lambda message: {name: value or b"" for name, value in message.headers}
    if mark is FromKafka.origin:
        return lambda message: str(Origin(message.partition, message.offset))
    if mark is FromKafka.tombstone:
        return lambda message: message.tombstone
    return _time if datetime in alternatives(kind) else _time_ms


def _key_filler(kind: Any) -> Callable[[Arrived], Any]:
    raw = bytes in alternatives(kind)

    def key(message: Arrived) -> Any:
        try:
            given = message.key if raw or message.key is None else message.key.decode()
            return msgspec.convert(given, kind, strict=False)
        except ValueError as error:
            raise Unfit(f"its key is {message.key!r}: {error}") from error

    return key


def _time_ms(message: Arrived) -> int:
    if message.timestamp_ms < 0:
        raise Unfit(NO_TIME.format(message.timestamp_ms))
    return message.timestamp_ms


def _time(message: Arrived) -> datetime:
    return _EPOCH + _time_ms(message) * _MILLISECOND


NO_TIME = "its Kafka timestamp is {}, so it has no time"
