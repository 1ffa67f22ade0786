"""A component of ours in a process of its own: the message loop on stdin and stdout, for Storm's worker or our own.

The main thread runs the component; what it sends is gathered until it has nothing more to do. Reading and heartbeats
are the pipe's, on a thread of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import msgspec

from stormline.components.edges import Edges
from stormline.components.host import Context, Tuple
from stormline.components.wiring import PROGRESS, resolve
from stormline.connectors.addresses import resolved
from stormline.connectors.brokers import Brokers
from stormline.connectors.edges import ServerEdges
from stormline.core.batch import BATCH_FIELDS, Batch
from stormline.core.progress import PROGRESS_FIELDS
from stormline.multilang.coding import decode_progress, decode_rows, encode_progress, encode_rows, from_text, to_text
from stormline.multilang.interpreter import tune
from stormline.multilang.pipe import STUCK_AFTER_S, Pipe
from stormline.multilang.prints import LogLines, Prints, storm_level
from stormline.multilang.traces import trim

STATUS_EVERY_MS = 100
LOOK_EVERY_MS = 1_000
TURN_MS = 10
"""A spout that has nothing answers Storm's `next` after so long, or as soon as it has something. Storm asks again a
millisecond later, so the answer's delay is what an idle spout costs; acks wait for it."""
TURN_BATCHES = 8
"""A spout sends up to so many tuples in a turn: each turn is a round trip through the worker, and where both cores are
busy that takes milliseconds (one a turn: a sixth fewer records a second on a full cluster)."""
SYNC = {"command": "sync"}
KAFKA, REDIS, LOCAL = "stormline.kafka", "stormline.redis", "stormline.local"
"""Keys of the configuration: the addresses, as they are or as `env:NAME` or `file:PATH` of the worker's; and whether
the one at the other end takes status messages."""
STUCK_AFTER = "stormline.stuck_after_s"
PRINT_HINT = "print() goes to this log, as stdout belongs to Storm; logging.getLogger(...) says the same with a level"


def serve(component: Any, out: int, edges: Callable[[Mapping[str, Any]], Edges] | None = None) -> None:
    """Be a task of `component` until stdin ends; never returns. `out` is the descriptor that leads to Storm."""
    tune()
    pipe = Pipe(out)
    status = 1
    try:
        pipe.start()
        _Loop(component, pipe, edges or server_edges).run()
    except Exception as error:  # whatever a component raises ends the process, as Storm expects, and stands in its log
        trim(error)
        trace = "".join(traceback.format_exception(error))
        pipe.send({"command": "error", "msg": trace})
        pipe.flush()
        print(trace, file=sys.stderr, flush=True)  # noqa: T201 - the worker's log
    finally:
        os._exit(status)


def server_edges(conf: Mapping[str, Any]) -> Edges:
    """Raises SettingsError if an address is a reference that leads nowhere on this machine, or a client is missing."""
    brokers = Brokers.of_conf(conf.get(KAFKA, "")).found_here(KAFKA)
    return ServerEdges(brokers=brokers, redis_url=resolved(str(conf.get(REDIS, "")), REDIS))


class _Loop:
    """The `Host` of one component."""

    def __init__(self, component: Any, pipe: Pipe, edges: Callable[[Mapping[str, Any]], Edges]) -> None:
        self._component = component
        self._pipe = pipe
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._told: dict[str, Any] = {}
        self._tell_at_ms = 0
        self._look_at_ms = 0
        self._trouble: str | None = None
        self._tuples = 0
        """Tuples taken; with the status they tell what it knows of."""
        self._stale = False
        """Something was done since the status was told."""
        self._turn_ends_ms: int | None = None
        """Storm has said `next`, and waits for the answer."""
        said = pipe.take(None)
        (Path(said["pidDir"]) / str(os.getpid())).touch()
        pipe.send({"pid": os.getpid()})
        pipe.flush()
        self._handshake = {"conf": said["conf"], "context": said["context"]}
        self.context = context(self._handshake)
        conf = self.context.conf
        pipe.stuck_after_s = float(conf.get(STUCK_AFTER, STUCK_AFTER_S))
        self._take_over_output(debug=bool(conf.get("topology.debug")))
        self._tells = bool(conf.get(LOCAL))
        schema = conf.get("stormline.schema")
        self._schema: Any = resolve(schema) if schema else None
        fields = said["context"].get("source->stream->fields", {})
        self._coded = {
            (source, stream): tuple(names)
            for source, streams in fields.items()
            for stream, names in streams.items()
            if tuple(names) in (BATCH_FIELDS, PROGRESS_FIELDS)
        }
        self.edges = edges(conf)

    def _take_over_output(self, *, debug: bool) -> None:
        """What is printed and logged goes to the worker's log as messages; what was printed before went to stderr."""
        sys.stdout.flush()
        sys.stdout = Prints(self._log, PRINT_HINT)
        root = logging.getLogger()
        root.addHandler(LogLines(self._log))
        root.setLevel(logging.DEBUG if debug else logging.INFO)

    def run(self) -> None:
        component, pipe = self._component, self._pipe
        component.prepare(self)
        while True:
            pipe.flush() if pipe.inbox.empty() else None
            due_ms = component.due_ms
            if self._stale:
                due_ms = self._tell_at_ms if due_ms is None else min(due_ms, self._tell_at_ms)
            if self._turn_ends_ms is not None:
                due_ms = self._turn_ends_ms if due_ms is None else min(due_ms, self._turn_ends_ms)
            taken = None
            with suppress(Empty):
                taken = pipe.take(None if due_ms is None else max(0, due_ms - self.now_ms()) / 1000)
            if callable(taken):
                taken()
            elif taken is not None:
                self._take(taken)
            due_ms = component.due_ms
            if due_ms is not None and due_ms <= self.now_ms():
                component.on_time(self.now_ms())
            if self._turn_ends_ms is not None:
                self._use_turn(self._turn_ends_ms)
            if self._tells:
                self._stale |= taken is not None
                self._tell()
            else:
                self._log_trouble()

    def _log_trouble(self) -> None:
        """On Storm, which asks nobody for a status, the log says what a component waits for, and when that is over."""
        now_ms = self.now_ms()
        if now_ms < self._look_at_ms:
            return
        self._look_at_ms = now_ms + LOOK_EVERY_MS
        trouble = self._component.status().trouble
        if trouble != self._trouble:
            self.log(logging.INFO if trouble is None else logging.WARNING, trouble or "goes on")
            self._trouble = trouble

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            return  # task ids, which nobody asked for
        component = self._component
        command = message.get("command")
        if command is None:
            self._tuples += 1
            component.execute(self._tuple(message))
            return
        if self._turn_ends_ms is not None:
            # Storm waits for the answer before it says anything more; our own worker does not, and counts answers.
            self._turn_ends_ms = None
            self._pipe.send(SYNC)
        match command:
            case "next":
                self._turn_ends_ms = self.now_ms() + TURN_MS
                return
            case "ack":
                component.ack(message["id"])
            case "fail":
                component.fail(message["id"])
            case "activate":
                component.activate()
            case "deactivate":
                component.deactivate()
        self._pipe.send(SYNC)

    def _use_turn(self, ends_ms: int) -> None:
        """What the component has now, and the answer: if that is something, or the turn is over."""
        emitted = 0
        while emitted < TURN_BATCHES and self._component.next_tuple():
            emitted += 1
        if emitted or self.now_ms() >= ends_ms:
            self._turn_ends_ms = None
            self._pipe.send(SYNC)

    def _tuple(self, message: dict[str, Any]) -> Tuple:
        source, stream, values = message["comp"], message["stream"], message["tuple"]
        match self._coded.get((source, stream)):
            case names if names == BATCH_FIELDS:
                slot, lane, partition, rows, attempt = values
                values = Batch(slot, lane, partition, decode_rows(from_text(rows), self._schema), attempt)
            case names if names == PROGRESS_FIELDS and stream == PROGRESS:
                values = (decode_progress(from_text(values[0])),)
        return Tuple(message["id"], source, stream, message["task"], values)

    def _tell(self) -> None:
        now_ms = self.now_ms()
        if now_ms < self._tell_at_ms:
            return
        self._tell_at_ms = now_ms + STATUS_EVERY_MS
        self._stale = False
        told = {"id": self._tuples, "params": msgspec.to_builtins(self._component.status())}
        if told != self._told:
            self._told = told
            self._pipe.send({"command": "status", **told})

    # Host

    def emit(
        self,
        values: Any,
        *,
        stream: str = "default",
        anchors: Sequence[Tuple] = (),
        message_id: Any = None,
        task: int | None = None,
    ) -> Sequence[int]:
        """The tasks are not asked for: that would be a message back for each."""
        if isinstance(values, Batch):
            rows = to_text(encode_rows(values.records))
            values = (values.slot, values.lane, values.partition, rows, values.attempt)
        elif stream == PROGRESS:
            values = (to_text(encode_progress(values[0])),)
        message: dict[str, Any] = {"command": "emit", "tuple": values, "stream": stream, "need_task_ids": False}
        if anchors:
            message["anchors"] = [anchor.id for anchor in anchors]
        if message_id is not None:
            message["id"] = message_id
        if task is not None:
            message["task"] = task
        self._pipe.send(message)
        return ()

    def ack(self, tup: Tuple) -> None:
        self._pipe.send({"command": "ack", "id": tup.id})

    def fail(self, tup: Tuple) -> None:
        self._pipe.send({"command": "fail", "id": tup.id})

    def log(self, level: int, message: str) -> None:
        self._log(storm_level(level), message)

    def _log(self, level: int, message: str) -> None:
        self._pipe.send({"command": "log", "msg": message, "level": level})

    def report_error(self, message: str) -> None:
        self._pipe.send({"command": "error", "msg": message})

    def handshake(self) -> dict[str, Any]:
        return self._handshake

    def now_ms(self) -> int:
        return (self._offset_ns + time.monotonic_ns()) // 1_000_000

    def post(self, call: Callable[[], None]) -> None:
        self._pipe.inbox.put(call)

    def watch(self, fd: int, on_ready: Callable[[], None], *, write: bool = False) -> None:
        raise NotImplementedError("components read files in threads of their own, and post")

    def unwatch(self, fd: int, *, write: bool = False) -> None:
        """Nothing is watched."""


def context(said: Mapping[str, Any]) -> Context:
    """The context of a task from Storm's handshake."""
    conf, told = said["conf"], said["context"]
    tasks: dict[str, list[int]] = {}
    for task, name in sorted((int(task), name) for task, name in told["task->component"].items()):
        tasks.setdefault(name, []).append(task)
    return Context(
        topology=conf["topology.name"],
        component=told["componentid"],
        task=told["taskid"],
        tasks_by_component=tasks,
        targets={stream: list(targets) for stream, targets in told["stream->target->grouping"].items()},
        sources=[
            (source, stream) for source, streams in told["source->stream->grouping"].items() for stream in streams
        ],
        conf=conf,
    )
