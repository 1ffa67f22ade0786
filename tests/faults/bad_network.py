"""A proxy between clients and a Kafka broker that cuts, delays and garbles, by a seed.

It speaks in whole frames (four bytes of length, then the message), so that a fault hits what it is meant to hit: a
request that never arrives, an answer that is lost, one cut in the middle, one that comes late, bytes that are no answer
at all, and records with a wrong byte in them. The address that the broker gives of itself is replaced by the proxy's.

Bytes are not changed anywhere else: Kafka's protocol has checksums for records alone, and leaves the rest to TCP.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal

HOST = b"127.0.0.1"
Fault = Literal["lost request", "lost answer", "torn answer", "late answer", "no answer", "wrong byte"]
FAULTS: tuple[Fault, ...] = ("lost request", "lost answer", "torn answer", "late answer", "no answer", "wrong byte")


class BadNetwork:
    """Listens when made. One request in `every` meets a fault, once `begin` was called. `marker` is found in the value
    of every record: there a wrong byte is put."""

    def __init__(
        self, broker_port: int, *, seed: int, every: int = 1, marker: bytes = b"", faults: Sequence[Fault] = FAULTS
    ) -> None:
        self._target = broker_port
        self._chance = random.Random(seed)
        self._every, self._marker, self._faults = every, marker, faults
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._came = threading.Condition()
        self._on = self._damage = False
        self._spares = True
        self._round: list[Fault] = []
        self.met: Counter[Fault] = Counter()
        self.connections = self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = {self._listener}
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def begin(self) -> None:
        """From now on with faults."""
        self._on = True

    def wait_for_requests(self, count: int) -> None:
        """Until so many more have come."""
        with self._came:
            wanted = self.requests + count
            assert self._came.wait_for(lambda: self.requests >= wanted, 30), f"{self.requests} of {wanted} requests"

    def close(self) -> None:
        self._closing.set()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _draw(self) -> Fault | None:
        """The kinds come in rounds, each in an order of its own; a wrong byte waits for an answer with records."""
        with self._lock:
            if not self._on or self._chance.randrange(self._every):
                return None
            if not self._round:
                self._round = self._chance.sample(self._faults, len(self._faults))
            fault = self._round.pop()
            if fault == "wrong byte":
                self._damage = True
                return None
            return fault

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        """One connection. Kafka answers in the order of the requests, so both ways need one line of what is asked."""
        asked: list[Fault | None] = []
        self._sockets.add(near)
        far: socket.socket | None = None
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets.add(far)
            back = threading.Thread(target=self._answers, args=(near, far, asked), daemon=True)
            back.start()
            while (frame := _frame(near)) is not None:
                with self._came:
                    self.requests += 1
                    self._came.notify_all()
                fault = self._draw()
                if fault == "lost request":
                    self.met[fault] += 1
                    break
                asked.append(fault)
                far.sendall(frame)
        except OSError:
            pass  # a broker that is down, or the other way is cut: so is this one
        finally:
            for each in (near, far):
                if each is not None:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                    each.close()
                    self._sockets.discard(each)

    def _answers(self, near: socket.socket, far: socket.socket, asked: list[Fault | None]) -> None:
        """Each answer is that to the oldest request that has none."""
        try:
            while (frame := _frame(far)) is not None:
                fault = asked.pop(0) if asked else None
                frame = frame.replace(HOST + struct.pack(">i", self._target), HOST + struct.pack(">i", self.port))
                if not self._pass(near, frame, fault):
                    break
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def _pass(self, near: socket.socket, frame: bytes, fault: Fault | None) -> bool:
        """Send what is left of the answer; False: the connection ends here."""
        if fault is None and self._damage and (at := frame.find(self._marker)) >= 0:
            self._spares = (
                not self._spares
            )  # most requests bring no records: else whatever brings some would be damaged
            if not self._spares:
                fault, self._damage = "wrong byte", False
                frame = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        if fault is not None:
            self.met[fault] += 1
        with self._lock:
            pause_s, cut = self._chance.uniform(0.05, 0.5), self._chance.randrange(1, len(frame))
            nonsense = self._chance.randbytes(min(len(frame), 200))
        match fault:
            case "lost answer":
                return False
            case "torn answer":
                near.sendall(frame[:cut])
                return False
            case "no answer":
                near.sendall(struct.pack(">i", len(nonsense)) + nonsense)
                return False
            case "late answer":
                self._closing.wait(pause_s)
        near.sendall(frame)
        return True


def _frame(source: socket.socket) -> bytes | None:
    """The next frame with its length; None at the end."""
    head = _exactly(source, 4)
    if head is None:
        return None
    rest = _exactly(source, struct.unpack(">i", head)[0])
    return None if rest is None else head + rest


def _exactly(source: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = source.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
