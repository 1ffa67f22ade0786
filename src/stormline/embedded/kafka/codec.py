"""Requests and answers as bytes, by the message schemas that kafka-python brings.

A schema is loaded when its API is first used: all of them cost a third of a second. The headers are coded here, because
the general code copies the whole frame to read one. Layout: "Protocol" in Kafka's documentation; tags: KIP-482.
"""

import uuid
from functools import cache
from struct import Struct
from typing import Any, NamedTuple

from kafka.protocol.api_message import ApiMessage
from kafka.protocol.schemas.fields.codecs.encode_buffer import EncodeBuffer

_REQUEST = Struct(">hhih")
_ANSWER = Struct(">ii")
_API_VERSIONS = 18
NO_ID = uuid.UUID(int=0)


class Header(NamedTuple):
    """Who asks what. `end` is where the body begins; in a flexible version tagged fields come before it."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    end: int


def read_header(frame: bytes) -> Header:
    """The first part of a request's header, which is the same in all versions."""
    api_key, version, correlation_id, length = _REQUEST.unpack_from(frame)
    end = _REQUEST.size + max(length, 0)
    return Header(api_key, version, correlation_id, frame[_REQUEST.size : end].decode(), end)


def decode(name: str, header: Header, frame: bytes) -> Any:
    """The body of a request as an object with the schema's fields in snake case."""
    schema = _schema(f"{name}Request")
    position = header.end
    if schema.flexible_version_q(header.version):
        position = _skip_tags(frame, position)
    return schema.decode(memoryview(frame)[position:], version=header.version)


def encode(name: str, version: int, correlation_id: int, body: dict[str, Any]) -> memoryview:
    """The framed answer. `body` is nested dicts by the schema's fields; what is left out has the schema's default."""
    schema = _schema(f"{name}Response")
    is_flexible = schema.flexible_version_q(version)
    out: Any = EncodeBuffer(1024)
    out.pos = _ANSWER.size
    if is_flexible and schema.API_KEY != _API_VERSIONS:  # that one answer must be read before versions are agreed
        out.pos += 1  # no tags: a zero byte
    write = schema._struct.compiled_encode_into(version, compact=is_flexible, tagged=is_flexible)
    write(_filled(schema, version, body), out)
    _ANSWER.pack_into(out.buf, 0, out.pos - 4, correlation_id)
    return memoryview(out.buf)[: out.pos]


@cache
def _schema(name: str) -> Any:
    make: Any = type(ApiMessage)  # a metaclass, which reads the schema of that name
    return make(name, (ApiMessage,), {})


def _filled(container: Any, version: int, values: dict[str, Any]) -> Any:
    """An object of the schema's own class, made from nested dicts; an unknown name is a ValueError.

    Only the reason of an error may be left out: many answers have no room for one.
    """
    fields = container._struct.fields
    made = {}
    for name, value in values.items():
        if name in fields and fields[name].is_struct_array() and value is not None:
            if not fields[name].for_version_q(version):
                continue  # what its rows say cannot be said in this version
            inner = fields[name].data_class
            made[name] = [_filled(inner, version, item) for item in value]
        elif name in fields or name != "error_message":
            made[name] = value
    return container(version=version, **made)


def _skip_tags(frame: bytes, position: int) -> int:
    count, position = _unsigned(frame, position)
    for _ in range(count):
        _, position = _unsigned(frame, position)
        size, position = _unsigned(frame, position)
        position += size
    return position


def _unsigned(frame: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
