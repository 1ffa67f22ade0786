"""Sockets between the workers of one topology: frames out and in, and who cannot keep up.

A worker connects to each other one and only sends there; what comes in comes over connections of the others. Bolts
never wait for a link, so two workers that send each other much cannot block each other: what a socket does not take
waits in memory, and spouts wait instead, in all workers, until it is gone.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from stormline.engine.messages import Behind, Message
from stormline.engine.wire import Wire

READ_BYTES = 1 << 18
MOST_WAITING = 8 << 20
"""Bytes that wait for one worker above which spouts are not asked."""
FLUSH_AT = 1 << 16
"""Bytes that wait for one worker before they go out although the worker has not come to a pause."""
LENGTH = 4


class Watcher(Protocol):
    """A worker's `watch` and `unwatch`."""

    def watch(self, fd: int, on_ready: Callable[[], None], *, write: bool = False) -> None: ...

    def unwatch(self, fd: int, *, write: bool = False) -> None: ...


def address(folder: Path, number: int) -> str:
    """Where worker `number` listens."""
    return str(folder / f"worker-{number}")


class Links:
    """All links of worker `number`; a `Transport`. `take_in` gets each message that comes."""

    def __init__(self, number: int, workers: int, wire: Wire, folder: Path) -> None:
        self._number = number
        self._wire = wire
        self._folder = folder
        self._out = {other: _Out() for other in range(workers) if other != number}
        self._behind: set[int] = set()
        self._told_behind = False
        self._in: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = address(folder, number)
        Path(path).unlink(missing_ok=True)
        self._listener.bind(path)
        self._listener.listen(workers)
        self._listener.setblocking(False)

    def serve(self, watcher: Watcher, take_in: Callable[[Message], None]) -> None:
        """From now on take connections, on the thread of the worker behind `watcher`."""
        self._watcher = watcher
        self._take_in = take_in
        watcher.watch(self._listener.fileno(), self._accept)

    def connect(self, other: int) -> None:
        """Worker `other` listens (again); what waited for it goes out."""
        out = self._out[other]
        out.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        out.socket.connect(address(self._folder, other))
        out.socket.setblocking(False)

    def disconnect(self, other: int) -> None:
        """Worker `other` is dead: what was sent to it is lost, what is sent from now on waits for its successor."""
        out = self._out[other]
        self._behind.discard(other)
        if out.socket is not None:
            self._unblock(out)
            out.socket.close()
            out.socket = None
        out.waiting.clear()
        out.size = 0

    def send(self, worker: int, message: Message) -> None:
        data = self._wire.encode(message)
        out = self._out[worker]
        out.waiting.append(len(data).to_bytes(LENGTH, "big") + data)
        out.size += LENGTH + len(data)
        if out.size > FLUSH_AT and not out.blocked:
            self._flush(worker, out)

    def flush(self, *, behind: bool) -> None:
        if behind is not self._told_behind:
            self._told_behind = behind
            for other in self._out:
                self.send(other, Behind(self._number, behind))
        for other, out in self._out.items():
            if out.waiting and not out.blocked:
                self._flush(other, out)

    @property
    def congested(self) -> bool:
        """Somebody cannot keep up, or is not there: spouts shall wait."""
        return bool(self._behind) or any(out.size > MOST_WAITING or out.socket is None for out in self._out.values())

    @property
    def idle(self) -> bool:
        """Nothing waits to go out."""
        return not any(out.waiting for out in self._out.values())

    def close(self) -> None:
        for other in self._out:
            self.disconnect(other)
        for fd in list(self._in):
            self._hang_up(fd)
        self._watcher.unwatch(self._listener.fileno())
        self._listener.close()

    def _flush(self, other: int, out: _Out) -> None:
        if out.socket is None:
            return
        waiting = out.waiting
        try:
            while waiting:
                joined = b"".join(waiting) if len(waiting) > 1 else waiting[0]
                waiting.clear()
                waiting.append(joined)
                sent = out.socket.send(joined)
                out.size -= sent
                waiting.clear()
                if sent < len(joined):
                    waiting.append(joined[sent:])
        except BlockingIOError:
            if not out.blocked:
                out.blocked = True
                self._watcher.watch(out.socket.fileno(), partial(self._on_writable, other, out), write=True)
            return
        except OSError:
            self.disconnect(other)  # it died; whoever started it says so soon
            return
        self._unblock(out)

    def _on_writable(self, other: int, out: _Out) -> None:
        self._flush(other, out)

    def _unblock(self, out: _Out) -> None:
        if out.blocked and out.socket is not None:
            out.blocked = False
            self._watcher.unwatch(out.socket.fileno(), write=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        self._in[connection.fileno()] = connection
        buffer = bytearray()
        self._watcher.watch(connection.fileno(), partial(self._on_readable, connection, buffer))

    def _on_readable(self, connection: socket.socket, buffer: bytearray) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(connection.fileno())
            return
        buffer += data
        at = 0
        view = memoryview(buffer)
        while len(buffer) - at >= LENGTH:
            end = at + LENGTH + int.from_bytes(view[at : at + LENGTH], "big")
            if end > len(buffer):
                break
            message = self._wire.decode(bytes(view[at + LENGTH : end]))
            at = end
            if isinstance(message, Behind):
                (self._behind.add if message.behind else self._behind.discard)(message.worker)
            else:
                self._take_in(message)
        view.release()
        del buffer[:at]

    def _hang_up(self, fd: int) -> None:
        self._watcher.unwatch(fd)
        self._in.pop(fd).close()


class _Out:
    """The way to one other worker."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.waiting: deque[bytes] = deque()
        self.size = 0
        """Bytes in `waiting`."""
        self.blocked = False
        """The socket takes no more; it is watched until it does."""
