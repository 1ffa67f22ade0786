"""A stock component in its own process: pystorm's loop on a faster and safer pipe.

Big reads, msgspec, and writes that are gathered until the component waits for input. An emit that has no form in JSON
fails its tuple, where pystorm would drop it and ack.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import sys
import threading
import time
from functools import partial
from typing import Any

import msgspec
from pystorm.component import _SERIALIZERS, Component
from pystorm.exceptions import StormWentAwayError
from pystorm.serializers.serializer import Serializer

from stormline.multilang.plain import NotData, plain
from stormline.multilang.traces import told, trim, user_line

END = b"\nend\n"
GATHER_S = 0.005
GATHER_BYTES = 65_536
AT_ONCE = frozenset({"error", "fail", "log"})
PRINT_HINT = "print() goes to this log, as stdout belongs to Storm; self.logger.info(...) says the same with a level"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def run(component: Any, out: int) -> None:
    """Be a task of `component`, a stock class; `out` is the descriptor that leads to Storm."""
    _Pipe.out = out
    _SERIALIZERS["json"] = _Pipe
    instance = component(serializer="json")
    instance.serializer.component = instance
    sys.stdout = _Prints(instance.serializer)
    if type(instance).raise_exception is Component.raise_exception:
        instance.raise_exception = partial(_raise_exception, instance)
    logging.setLogRecordFactory(_Record)
    instance.run()


def _raise_exception(instance: Any, exception: BaseException, tup: Any = None) -> None:
    """In the place of pystorm's: the same text, without the frames before the user's."""
    instance.send_message({"command": "error", "msg": told(exception, tup)})
    instance.send_message({"command": "sync"})


class _Record(logging.LogRecord):
    """Shows the user's frames where pystorm logs an exception."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if isinstance(self.exc_info, tuple) and self.exc_info[1] is not None:
            trim(self.exc_info[1])
            self.exc_info = (*self.exc_info[:2], self.exc_info[1].__traceback__)


class _Pipe(Serializer):
    """pystorm's serializer, on descriptors."""

    out = 1
    component: Any = None

    def __init__(self, input_stream: Any, output_stream: Any, reader_lock: Any, writer_lock: Any) -> None:
        super().__init__(None, None, reader_lock, writer_lock)  # type: ignore[no-untyped-call]
        self._frames: list[bytes] = []
        self._rest = b""
        self._gathered: list[bytes] = []
        self._size = 0
        self._written_s = 0.0
        self._spoiled: set[Any] = set()
        self._main = threading.get_ident()
        self._owed: list[Any] = []
        """Fails of this spout's own emits that could not be sent."""
        atexit.register(self.flush)

    def read_message(self) -> Any:
        while not self._frames:
            self.flush()
            with self._reader_lock:
                data = os.read(0, 1 << 18)
            if not data:
                raise StormWentAwayError
            *frames, self._rest = (self._rest + data).split(END)
            self._frames = frames[::-1]
        frame = self._frames.pop()
        try:
            return _decode(frame)
        except msgspec.MsgspecError:
            return json.loads(frame)

    def send_message(self, msg_dict: dict[str, Any]) -> None:
        with self._writer_lock:
            command = msg_dict.get("command")
            if command == "sync" and self._owed:
                owed, self._owed = self._owed, []
                for message_id in owed:
                    self.component.fail(message_id)
            if command == "emit":
                message = self._emit(msg_dict)
                if message is None:
                    return
            elif command == "ack" and msg_dict["id"] in self._spoiled:
                self._spoiled.discard(msg_dict["id"])
                message = {"command": "fail", "id": msg_dict["id"]}
            else:
                message = msg_dict
            try:
                data = _encode(message)
            except (TypeError, ValueError, OverflowError):
                data = json.dumps(message, default=str).encode()
            self._gathered += (data, END)
            self._size += len(data)
            now_s = time.monotonic()
            if (
                self._size >= GATHER_BYTES
                or now_s - self._written_s > GATHER_S
                or command in AT_ONCE
                or threading.get_ident() != self._main
            ):
                self.flush()

    def flush(self) -> None:
        with self._writer_lock:
            data, self._gathered, self._size = memoryview(b"".join(self._gathered)), [], 0
            self._written_s = time.monotonic()
            while data:
                try:
                    data = data[os.write(self.out, data) :]
                except OSError:
                    raise StormWentAwayError from None

    def _emit(self, message: dict[str, Any]) -> dict[str, Any] | None:
        stream = message.get("stream") or "default"
        component = self.component
        fields = ((component.context or {}).get("stream->outputfields") or {}).get(stream, ())
        try:
            return {**message, "tuple": plain(message["tuple"], fields)}
        except NotData as error:
            is_spout = hasattr(component, "next_tuple")
            if is_spout:
                spoiled = [message["id"]] if "id" in message else []
                self._owed += spoiled
            else:
                spoiled = message.get("anchors") or [tup.id for tup in component._current_tups]
                self._spoiled.update(spoiled)
            what = "its tuple fails" if spoiled else "it is lost"
            self.send_message(
                {
                    "command": "error",
                    "msg": f"emits on stream {stream!r} what cannot be sent: {error}; {what}; at {user_line()}",
                }
            )
            if message.get("need_task_ids", True) and not message.get("task"):
                component._pending_task_ids.append([])
            return None


class _Prints(io.TextIOBase):
    """What a component prints, line by line, as log messages."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._line = ""
        self._hinted = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        if lines and not self._hinted:
            self._hinted = True
            self._pipe.send_message({"command": "log", "msg": PRINT_HINT, "level": 3})
        for line in lines:
            self._pipe.send_message({"command": "log", "msg": line, "level": 2})
        return len(text)
