"""The two descriptors that lead to Storm: one thread reads, any thread sends.

The reading thread answers heartbeats whatever the component is doing, so a slow function of the user's costs no worker.
What is too slow to be only slow is left to Storm: heartbeats are answered no more, and it kills the worker when its own
time-out is over. It stops reading while much waits, so the worker sees back pressure as from any other component.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import msgspec

END = b"\nend\n"
GATHER_BYTES = 262_144
MOST_WAITING_BYTES = 64 << 20
STUCK_AFTER_S = 60.0
"""So long may one call of a component take before it counts as stuck; `stormline.stuck_after_s` says otherwise."""
ANSWER_EVERY_S = 1.0
"""So often does Storm ask; unasked it is answered as often."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_HEARTBEAT = b'"__heartbeat"'
_SYNC = b'{"command":"sync"}' + END


class Pipe:
    """`out` is the descriptor of what Storm reads; what it sends is on descriptor 0."""

    def __init__(self, out: int) -> None:
        self.inbox: SimpleQueue[bytes | Callable[[], None]] = SimpleQueue()
        """Messages, not decoded, and calls for the component's thread."""
        self.stuck_after_s = STUCK_AFTER_S
        self._out = out
        self._main = threading.get_ident()
        self._gathered: list[bytes] = []
        self._size = 0
        self._lock = threading.Lock()
        self._read_bytes = self._taken_bytes = 0
        self._busy_since_s: float | None = time.monotonic()
        self._told_stuck = False

    def start(self) -> None:
        """Read from now on, until stdin ends, and the process with it."""
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    # On the component's thread.

    def take(self, wait_s: float | None) -> Any:
        """The next message or call. Raises queue.Empty when so much time has passed."""
        self._busy_since_s = None
        taken = self.inbox.get(timeout=wait_s)
        self._busy_since_s = time.monotonic()
        if isinstance(taken, bytes):
            self._taken_bytes += len(taken)
            return _decode(taken)
        return taken

    # On any thread.

    def send(self, message: dict[str, Any]) -> None:
        """Soon: with what else is sent until the component has nothing more to do. At once from other threads."""
        data = _encode(message)
        with self._lock:
            self._gathered += (data, END)
            self._size += len(data)
        if self._size >= GATHER_BYTES or threading.get_ident() != self._main:
            self.flush()

    def flush(self) -> None:
        if self._gathered:
            self._write(b"")

    def _write(self, more: bytes) -> None:
        with self._lock:
            data = memoryview(b"".join(self._gathered) + more)
            self._gathered, self._size = [], 0
            while data:
                data = data[os.write(self._out, data) :]

    # On the reading thread.

    def _read(self) -> None:
        rest = b""
        try:
            while data := os.read(0, 1 << 18):
                *frames, rest = (rest + data).split(END)
                for frame in frames:
                    if _HEARTBEAT in frame and _decode(frame).get("stream") == "__heartbeat":
                        self._answer()
                    else:
                        self._read_bytes += len(frame)
                        self.inbox.put(frame)
                self._wait_for_room()
        except Exception:  # nothing can be read any more: the process is of no use
            traceback.print_exc()
        finally:
            os._exit(0)

    def _wait_for_room(self) -> None:
        answered_s = time.monotonic()
        while self._read_bytes - self._taken_bytes > MOST_WAITING_BYTES:
            time.sleep(0.01)
            if time.monotonic() - answered_s >= ANSWER_EVERY_S:  # the question is behind what is not read
                answered_s = time.monotonic()
                self._answer()

    def _answer(self) -> None:
        busy_since_s = self._busy_since_s
        if busy_since_s is None or time.monotonic() - busy_since_s < self.stuck_after_s:
            self._told_stuck = False
            self._write(_SYNC)
        elif not self._told_stuck:
            self._told_stuck = True
            frame = sys._current_frames().get(self._main)
            where = "".join(traceback.format_stack(frame)) if frame is not None else ""
            self.send(
                {
                    "command": "error",
                    "msg": f"one call has taken {self.stuck_after_s:.0f} s, and counts as stuck: heartbeats are not "
                    f"answered until it returns, so Storm will end this worker. It is here:\n{where}",
                }
            )
