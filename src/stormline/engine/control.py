"""What the process that runs a topology and its workers tell each other, and the channel for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from stormline.core.status import Status

LENGTH = 4
READ_BYTES = 1 << 18


class Begin(msgspec.Struct, tag=True):
    """Make and prepare the tasks; answered by `Started`. `conf`: as for `Deployment`."""

    conf: dict[str, Any]


class Connect(msgspec.Struct, tag=True):
    """These workers have started: send to them what is for them."""

    workers: list[int]


class Activate(msgspec.Struct, tag=True):
    """Every worker has started: spouts may emit."""


class Deactivate(msgspec.Struct, tag=True):
    """Spouts emit no more."""


class Ask(msgspec.Struct, tag=True):
    """How do things stand? Answered by `Report` of the same round."""

    round: int


class Lost(msgspec.Struct, tag=True):
    """A worker died: send nothing more to it; answered by `Heard`."""

    worker: int


class FailPending(msgspec.Struct, tag=True):
    """A worker died, and nobody sends to it any more: whatever spouts wait for has failed."""


class Close(msgspec.Struct, tag=True):
    """End in order; answered by `Ended`."""


class Hello(msgspec.Struct, tag=True):
    """First word of a worker."""

    worker: int
    pid: int


class Started(msgspec.Struct, tag=True):
    """All tasks of the worker are prepared, and other workers can connect to it."""


class Report(msgspec.Struct, tag=True):
    """Component -> (task, status) of each of its tasks in this worker."""

    round: int
    statuses: dict[str, list[tuple[int, Status]]]
    settled: bool
    waited_for: int
    """Tuples that spouts here wait for."""


class Heard(msgspec.Struct, tag=True):
    """Nothing more is sent to the worker that was lost."""

    worker: int


class Line(msgspec.Struct, tag=True):
    """A line of a worker's log that the user is to see."""

    level: int
    text: str


class Raised(msgspec.Struct, tag=True):
    """An error that ends the run: the name of its class in `core.errors`, and its message."""

    kind: str
    message: str


class Ended(msgspec.Struct, tag=True):
    """Every component is closed."""


class Start(msgspec.Struct, tag=True):
    """To the supervisor: start this worker."""

    worker: int


class Exited(msgspec.Struct, tag=True):
    """From the supervisor: this worker's process is gone; `code` as `subprocess` gives it, negative for a signal."""

    worker: int
    code: int


Said = (
    Begin
    | Activate
    | Deactivate
    | Ask
    | Lost
    | FailPending
    | Connect
    | Close
    | Hello
    | Started
    | Report
    | Heard
    | Line
    | Raised
    | Ended
    | Start
    | Exited
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


class Channel:
    """One end of a stream socket that carries these messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.fileno = connection.fileno
        self._buffer = bytearray()

    def say(self, message: Said) -> None:
        """Raises OSError if the other end is gone."""
        data = _encode(message)
        self.socket.sendall(len(data).to_bytes(LENGTH, "big") + data)

    def hear(self) -> list[Said] | None:
        """Waits for something to come; None: the other end is gone."""
        try:
            data = self.socket.recv(READ_BYTES)
        except OSError:
            return None
        self._buffer += data
        return list(self._taken()) if data else None

    def close(self) -> None:
        self.socket.close()

    def _taken(self) -> Iterator[Said]:
        buffer = self._buffer
        while len(buffer) >= LENGTH:
            end = LENGTH + int.from_bytes(buffer[:LENGTH], "big")
            if len(buffer) < end:
                return
            message = _decode(bytes(buffer[LENGTH:end]))
            del buffer[:end]
            yield message
