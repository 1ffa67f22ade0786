"""Messages between workers as bytes: msgpack, each tuple's values by the type that its stream carries."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from stormline.components.wiring import PROGRESS, resolve
from stormline.core.batch import BATCH_FIELDS, Batch, Rows
from stormline.core.progress import Progress
from stormline.engine.acker import Verdict
from stormline.engine.deployment import Deployment
from stormline.engine.messages import Acked, Begun, Behind, Carried, Failed, Message

_encode = msgspec.msgpack.Encoder().encode
JSON = 1
"""The msgpack extension for values that JSON holds and msgpack does not: whole numbers beyond 64 bits, halves of
surrogate pairs."""


class _Tuple(msgspec.Struct, array_like=True, tag=0):
    target: int
    source: int
    stream: str
    roots: dict[int, int]
    values: msgspec.Raw


class _Begun(msgspec.Struct, array_like=True, tag=1):
    root: int
    edges: int
    spout_task: int


class _Acked(msgspec.Struct, array_like=True, tag=2):
    root: int
    edges: int


class _Failed(msgspec.Struct, array_like=True, tag=3):
    root: int


class _Verdict(msgspec.Struct, array_like=True, tag=4):
    root: int
    spout_task: int
    acked: bool


class _Behind(msgspec.Struct, array_like=True, tag=5):
    worker: int
    behind: bool


_decode = msgspec.msgpack.Decoder(_Tuple | _Begun | _Acked | _Failed | _Verdict | _Behind).decode
_CODED: dict[type, type[msgspec.Struct]] = {
    Begun: _Begun,
    Acked: _Acked,
    Failed: _Failed,
    Verdict: _Verdict,
    Behind: _Behind,
}
_MESSAGES: dict[type[msgspec.Struct], Any] = {coded: message for message, coded in _CODED.items()}


class Wire:
    """The coding of one topology's messages; the same in all its workers."""

    def __init__(self, deployment: Deployment) -> None:
        self._decoders: dict[tuple[int, str], msgspec.msgpack.Decoder[Any]] = {}
        for task, spec in deployment.hosted.items():
            schema = spec.conf.get("stormline.schema")
            for name, stream in spec.streams.items():
                values: Any = None
                if schema is not None and stream.fields == BATCH_FIELDS:
                    values = _batches_of(resolve(schema))
                elif schema is not None and name == PROGRESS:
                    values = tuple[Progress]
                if values is not None:
                    self._decoders[task, name] = msgspec.msgpack.Decoder(values)
        self._plain = msgspec.msgpack.Decoder(Any, ext_hook=lambda code, data: json.loads(bytes(data)))

    def encode(self, message: Message) -> bytes:
        """Raises TypeError or another error of the coder for values that are not data."""
        if isinstance(message, Carried):
            target, source, stream, values, roots = message
            try:
                packed = _encode(values)
            except (OverflowError, UnicodeEncodeError):
                packed = _encode(msgspec.msgpack.Ext(JSON, json.dumps(values).encode()))
            return _encode(_Tuple(target, source, stream, dict(roots), msgspec.Raw(packed)))
        return _encode(_CODED[type(message)](*message))

    def decode(self, data: bytes) -> Message:
        coded = _decode(data)
        if isinstance(coded, _Tuple):
            decoder = self._decoders.get((coded.source, coded.stream), self._plain)
            values = decoder.decode(coded.values)
            if len(values) == len(BATCH_FIELDS) and isinstance(values[3], tuple):
                slot, lane, partition, rows, attempt = values
                values = Batch(slot, lane, partition, Rows(*rows), attempt)
            return Carried(coded.target, coded.source, coded.stream, values, coded.roots)
        return _MESSAGES[type(coded)](*msgspec.structs.astuple(coded))  # type: ignore[no-any-return]


def _batches_of(schema: Any) -> Any:
    """The type of a `Batch`'s values, for a decoder."""
    return tuple[int, str, str, tuple[list[int], list[int], list[schema], list[str] | None], int]
