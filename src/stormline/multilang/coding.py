"""The bytes of a batch and of progress: msgpack, rows as arrays in the order in which the schema declares its fields.

On a multilang pipe, where everything is JSON, they travel as one text of URL-safe base64: Storm's JSON library is slow
on nested values, and escapes `/`.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import msgspec

from stormline.core.batch import Rows
from stormline.core.progress import Progress

_encode = msgspec.msgpack.Encoder().encode


def encode_rows(rows: Rows) -> bytes:
    """The columns of `rows`; `decode_rows` reads them with the same schema."""
    values = [msgspec.structs.astuple(value) for value in rows.values]
    return _encode((rows.offsets, rows.times_ms, values, rows.keys))


def decode_rows(data: bytes, schema: type[msgspec.Struct]) -> Rows:
    """Raises msgspec.MsgspecError for bytes that are no rows of `schema`."""
    offsets, times_ms, values, keys = _decoder(schema).decode(data)
    return Rows(offsets, times_ms, [schema(*value) for value in values], keys)


def encode_progress(progress: Progress) -> bytes:
    return _encode(progress)


def decode_progress(data: bytes) -> Progress:
    """Raises msgspec.MsgspecError for bytes that are no progress."""
    return _progress.decode(data)


def to_text(data: bytes) -> str:
    """For a JSON pipe."""
    return base64.urlsafe_b64encode(data).decode()


def from_text(text: str) -> bytes:
    return base64.urlsafe_b64decode(text)


_progress = msgspec.msgpack.Decoder(Progress)


@cache
def _decoder(schema: type[msgspec.Struct]) -> msgspec.msgpack.Decoder[Any]:
    row: Any = tuple[tuple(field.type for field in msgspec.structs.fields(schema))]  # type: ignore[misc]
    return msgspec.msgpack.Decoder(tuple[list[int], list[int], list[row], list[str] | None])
