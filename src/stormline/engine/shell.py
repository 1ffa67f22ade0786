"""A task as a child process on the multilang pipe, as a worker of Storm 2.8 runs it: `ShellBolt` and `ShellSpout`.

Not as on a cluster: a dead child costs its task, not its whole worker; several commands may be on their way to a spout
at a time, their `sync`s are awaited in order. Of `next` there are no more than tuples may still be pending; so where
one `next` emits several, `topology.max.spout.pending` may be overshot by more than one call's emits.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from stormline.components.host import Host, Tuple
from stormline.components.wiring import LAUNCHER
from stormline.core.errors import Died, StormlineError
from stormline.core.status import Status
from stormline.engine.child import END, Child, LogGate
from stormline.engine.conf import longest_silence_ms
from stormline.engine.hosts import SpoutHost
from stormline.engine.stock import LEVELS, NO_METRICS, WAIT_KEY
from stormline.multilang.traces import shortened

HEARTBEAT_EVERY_MS = 1_000
MOST_NEXTS = 16
MAX_PENDING = "topology.shellbolt.max.pending"
LOCAL = "stormline.local"
"""Key of the configuration that a child of this engine finds set: it may tell its status."""
_HEARTBEAT = b'{"id":"-1","comp":null,"stream":"__heartbeat","task":-1,"tuple":[]}' + END


class Message(msgspec.Struct):
    """Any message of a child's; which fields mean something depends on `command`."""

    command: str | None = None
    pid: int | None = None
    id: Any = None
    tuple: list[Any] | None = None
    stream: str = "default"
    task: int | None = None
    anchors: list[Any] | str | None = None
    need_task_ids: bool = True
    msg: Any = None
    level: int = 2
    name: Any = None
    params: Any = None


_decode = msgspec.json.Decoder(Message).decode
_encoder = msgspec.json.Encoder()


def encode(message: Any) -> bytes:
    """A frame, with slashes escaped as Storm's JSON library does: a component that takes no real JSON parser shall meet
    that here. Whole numbers beyond 64 bits are JSON too, but not msgspec's."""
    try:
        data = _encoder.encode(message)
    except (OverflowError, TypeError, ValueError):
        data = json.dumps(message).encode()
    return data.replace(b"/", b"\\/") + END


def argv(command: str, script: str) -> list[str]:
    """The two words that Storm would start; streamparse's own launcher is replaced by ours, which keeps prints off the
    pipe."""
    if command == LAUNCHER:
        return [sys.executable, "-m", "stormline.multilang", *script.split()]
    return [command, script]


class ShellTask:
    """What bolts and spouts have in common."""

    due_ms: int | None = None

    def __init__(self, command: Sequence[str], sources: Path) -> None:
        self._argv = command
        self._sources = sources
        self._status = Status()
        self._told: Status | None = None
        """What the child says of itself, if it can."""
        self._told_after = 0
        """The tuples that it had taken then."""
        self._ready = False
        self._no_metrics = True

    def prepare(self, host: Host) -> None:
        """Start the child and send the handshake, without waiting for the answer."""
        self._host = host
        self._timeout_ms = longest_silence_ms(host.context.conf)
        self._heard_ms = host.now_ms()
        self._log = LogGate(host).log
        self._pids = tempfile.mkdtemp(prefix="stormline-pids-")
        self._cleared = weakref.finalize(self, shutil.rmtree, self._pids, True)
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self._child = Child(
            host,
            self._argv,
            cwd=self._sources,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            on_frame=self._on_frame,
            on_line=self._on_line,
        )
        said = host.handshake()
        self._send({"pidDir": self._pids, "conf": {**said["conf"], LOCAL: True}, "context": said["context"]})
        self._plan(self._heard_ms)

    def status(self) -> Status:
        return self._told or self._status

    def close(self) -> None:
        self._child.close()
        self._cleared()

    @property
    def pid(self) -> int:
        """The child's process."""
        return self._child.pid

    def _plan(self, now_ms: int) -> None:
        raise NotImplementedError

    def _emitted(self, message: Message) -> Sequence[int]:
        raise NotImplementedError

    def _obey(self, message: Message) -> None:
        raise NotImplementedError

    def _send(self, message: Any, *, urgent: bool = False, later: bool = False) -> None:
        self._child.send(encode(message), urgent=urgent, later=later)

    def _on_line(self, line: str) -> None:
        if line:
            self._log(20, line)

    def _on_frame(self, frame: bytes) -> None:
        try:
            message = _decode(frame)
        except msgspec.MsgspecError:
            message = self._lenient(frame)
        self._heard_ms = self._host.now_ms()
        try:
            match message.command:
                case "emit":
                    self._emit(message)
                case "log":
                    self._log(LEVELS.get(message.level, 20), str(message.msg))
                case "error":
                    self._host.report_error(shortened(str(message.msg), 20_000))
                case "metrics":
                    if self._no_metrics:
                        self._no_metrics = False
                        self._log(30, NO_METRICS)
                case "status":
                    self._told, self._told_after = msgspec.convert(message.params, Status), message.id
                case None if message.pid is not None:
                    self._ready = True
                case _:
                    self._obey(message)
        except Died:
            raise
        except StormlineError as error:
            raise self._child.died(f"was ended, as Storm would: {error}") from error

    def _lenient(self, frame: bytes) -> Message:
        """What Storm's parser takes beyond JSON: NaN, and whole numbers of any length."""
        try:
            return msgspec.convert(json.loads(frame), Message)
        except (ValueError, TypeError, RecursionError):
            raise self._child.garbage(frame) from None

    def _emit(self, message: Message) -> None:
        if message.tuple is None:
            raise self._child.died("emits a message without a tuple")
        message.task = message.task or None
        targets = self._emitted(message)
        self._status.records_out += 1
        if message.need_task_ids and message.task is None:
            self._send(list(targets), urgent=True)

    def _check_alive(self, now_ms: int) -> None:
        if now_ms - self._heard_ms >= self._timeout_ms:
            raise self._child.died(f"said nothing for {(now_ms - self._heard_ms) // 1000} s and is killed")


class ShellBolt(ShellTask):
    """A bolt behind a pipe."""

    def __init__(self, command: Sequence[str], sources: Path) -> None:
        super().__init__(command, sources)
        self._held: dict[Any, Tuple] = {}

    def prepare(self, host: Host) -> None:
        self._most_waiting = int(host.context.conf.get(MAX_PENDING, 100))
        super().prepare(host)

    def execute(self, tup: Tuple) -> None:
        number, source, stream, task, values = tup
        name = str(number)
        self._held[name] = tup
        self._status.records_in += 1
        self._send({"id": name, "comp": source, "stream": stream, "task": task, "tuple": values})
        if self._child.waiting > self._most_waiting and self._ready:
            self._child.press(self._most_waiting)

    def on_time(self, now_ms: int) -> None:
        self._check_alive(now_ms)
        if self._ready:
            self._child.send(_HEARTBEAT, urgent=True)
        self._plan(now_ms)

    def status(self) -> Status:
        status = super().status()
        if self._told is None:
            status.settled = not self._held
        elif self._told_after < self._status.records_in:
            status.settled = False  # it does not know yet what is on its way to it
        return status

    def _plan(self, now_ms: int) -> None:
        self.due_ms = now_ms + HEARTBEAT_EVERY_MS

    def _emitted(self, message: Message) -> Sequence[int]:
        anchors = message.anchors or ()
        causes = [self._tuple(anchor, "anchors to") for anchor in ([anchors] if isinstance(anchors, str) else anchors)]
        return self._host.emit(message.tuple, stream=message.stream, anchors=causes, task=message.task)

    def _obey(self, message: Message) -> None:
        match message.command:
            case "ack":
                self._host.ack(self._tuple(message.id, "acks"))
                del self._held[message.id]
            case "fail":
                self._status.failed += 1
                self._host.fail(self._tuple(message.id, "fails"))
                del self._held[message.id]

    def _tuple(self, name: Any, does: str) -> Tuple:
        held = self._held.get(str(name))
        if held is None:
            raise self._child.died(
                f"{does} tuple {name!r}, which it does not hold: each is acked or failed once, after its last emit"
            )
        return held


class ShellSpout(ShellTask):
    """A spout behind a pipe."""

    def __init__(self, command: Sequence[str], sources: Path) -> None:
        super().__init__(command, sources)
        self._open: deque[str] = deque()
        """Commands that no `sync` has closed yet."""
        self._nexts = 0
        """Those of them that are `next`."""
        self._window = 1
        """So many `next` may be open: more while each emits, one after one that did not."""
        self._emits = 0
        self._idle_until_ms = 0

    def prepare(self, host: Host) -> None:
        self._idle_ms = int(host.context.conf.get(WAIT_KEY, 1))
        self._room = cast(SpoutHost, host).room
        super().prepare(host)

    def activate(self) -> None:
        self._command("activate")

    def deactivate(self) -> None:
        self._command("deactivate")

    def next_tuple(self) -> bool:
        """Ask for the next ones; what is emitted arrives on the pipe."""
        if self._nexts > self._window // 2 or (self._idle_until_ms and self._host.now_ms() < self._idle_until_ms):
            return False
        self._idle_until_ms = 0
        room = self._room()
        for _ in range(min(self._window, self._window if room is None else room) - self._nexts):
            self._nexts += 1
            self._command("next")
        return False

    def ack(self, message_id: Any) -> None:
        self._status.acked += 1
        self._command("ack", message_id)

    def fail(self, message_id: Any) -> None:
        self._status.failed += 1
        self._command("fail", message_id)

    def on_time(self, now_ms: int) -> None:
        if self._open or not self._ready:
            self._check_alive(now_ms)
        self._plan(now_ms)

    def _plan(self, now_ms: int) -> None:
        soon = self._idle_until_ms if self._idle_until_ms > now_ms else now_ms + HEARTBEAT_EVERY_MS
        self.due_ms = min(soon, now_ms + HEARTBEAT_EVERY_MS)

    def _command(self, command: str, message_id: Any = "") -> None:
        if not self._open:
            self._heard_ms = self._host.now_ms()
        self._open.append(command)
        # While the child is at its `next` it reads nothing: acks go with the one after it, in one write.
        self._send({"command": command, "id": message_id}, later=self._nexts > 0 and command in ("ack", "fail"))

    def _emitted(self, message: Message) -> Sequence[int]:
        self._emits += 1
        return self._host.emit(message.tuple, stream=message.stream, message_id=message.id, task=message.task)

    def _obey(self, message: Message) -> None:
        if message.command != "sync":
            raise self._child.died(f"sends the command {message.command!r}, which a spout has not")
        if not self._open:
            return  # pystorm's `raise_exception` sends one too many
        closed = self._open.popleft()
        if closed == "deactivate":
            self._status.settled = True  # whatever it has left, it is not asked for it
        elif closed == "next":
            self._nexts -= 1
            if self._open:
                self._child.flush_soon()
            self._status.settled = not self._emits
            self._window = min(2 * self._window, MOST_NEXTS) if self._emits else 1
            if not self._emits:
                now_ms = self._host.now_ms()
                self._idle_until_ms = now_ms + self._idle_ms
                self._plan(now_ms)
            self._emits = 0
