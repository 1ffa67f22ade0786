"""A stock streamparse component in this process: pystorm's own `_run`, with its reading and sending replaced.

Whatever a user's class overrides (`emit`, `ack`, `send_message`, `read_tuple`, ...) keeps its say. What it leaves as it
is takes a shorter way that builds no messages. As on a cluster, values are seen as JSON leaves them, and an exception
ends the component (`Died`) unless its `exit_on_exception` is false.

Not as on a cluster: an emit that has no form in JSON fails its tuple, where pystorm would drop it and ack.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from threading import get_ident
from typing import Any, cast

import pystorm
from pystorm.component import _SERIALIZERS
from pystorm.component import Tuple as StockTuple
from pystorm.serializers.serializer import Serializer

from stormline.components.host import Host, Tuple
from stormline.core.errors import Died, StormlineError
from stormline.core.status import Status
from stormline.multilang.plain import NotData, of_framework, plain, shortened, user_line

SERIALIZER = "stormline"
"""What components are told to talk through, in the place of "json"."""
LEVELS = {0: 5, 1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
"""Storm's log levels trace to error -> Python's."""
PRINT_HINT = "print() belongs to no stream and goes to this log; self.logger.info(...) says the same with a level"
NO_METRICS = "report_metric: Storm takes metrics of Java's only, and would end the worker; they are dropped"
WAIT_KEY = "topology.sleep.spout.wait.strategy.time.ms"


class StockTask:
    """What spouts and bolts have in common. `component` is the user's class."""

    due_ms: int | None = None
    kind: Any
    """pystorm's base class, whose methods may be bypassed where they are not overridden."""

    def __init__(self, component: type) -> None:
        self._class: Any = component
        self._status = Status(settled=True)
        self._doom: StormlineError | None = None
        self._error: str | None = None
        """What the component reports while it is dying of an exception."""
        self._dying = False
        self._said: set[str] = set()
        self._task_ids: deque[list[int]] = deque()
        self._ids_for_threads: SimpleQueue[list[int]] = SimpleQueue()
        self._quiet = True
        self._run: Callable[[], None] | None = None

    def prepare(self, host: Host) -> None:
        """Raises Died for an exception of the component's own."""
        self._host = host
        self._thread = get_ident()
        self._prints = _Prints(self)
        _SERIALIZERS.setdefault(SERIALIZER, _Direct)
        said = json.loads(json.dumps(host.handshake()))
        conf, context = said["conf"], said["context"]
        self._fields = context["stream->outputfields"]
        instance: Any = None

        def start() -> None:
            nonlocal instance
            instance = self._class(serializer=SERIALIZER)
            instance.serializer.task = self
            self._instance = instance
            self._set_up(conf, context)
            self._shorten()
            self._quiet = False
            instance.initialize(conf, context)

        self._guarded(start)

    def on_time(self, now_ms: int) -> None:
        self.due_ms = None

    def status(self) -> Status:
        return self._status

    def close(self) -> None:
        """Storm tells a shell component nothing at its end."""

    # what the component sends

    def obey(self, message: dict[str, Any]) -> None:
        """A message that the component sends to Storm."""
        if get_ident() != self._thread:
            self._host.post(lambda: self._obey_thread(message))
            return
        match message.get("command"):
            case "emit":
                self._emit(message)
            case "log":
                if not self._quiet:
                    self._host.log(LEVELS.get(message.get("level", 2), logging.INFO), str(message.get("msg")))
            case "error":
                if self._dying:
                    self._error = str(message.get("msg"))
                else:
                    self._host.report_error(str(message.get("msg")))
            case "metrics":
                self.say_once(logging.WARNING, NO_METRICS)
            case "ack" | "fail" as command:
                self._judge(command, message["id"])

    def read(self) -> Any:
        """The message that the component reads: task ids that it asked for, or what it is called with."""
        if get_ident() != self._thread:
            return self._ids_for_threads.get()
        if self._task_ids:
            return self._task_ids.popleft()
        return self._incoming()

    def say_once(self, level: int, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._host.log(level, message)

    def printed(self, line: str) -> None:
        self.say_once(logging.WARNING, PRINT_HINT)
        self._host.log(logging.INFO, line)

    def _obey_thread(self, message: dict[str, Any]) -> None:
        """A message of another thread of the component's, on the engine's own."""
        self.obey(message)
        while self._task_ids:
            self._ids_for_threads.put(self._task_ids.popleft())
        self._end_if_doomed()

    def _incoming(self) -> Any:
        raise NotImplementedError

    def _emit(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def _judge(self, command: str, tuple_id: Any) -> None:
        raise NotImplementedError

    def _shorten(self) -> None:
        raise NotImplementedError

    def _is_stock(self, *names: str) -> bool:
        return all(getattr(self._class, name) is getattr(self.kind, name) for name in names)

    def _doomed(self, why: str) -> StormlineError:
        """On a cluster the worker would end over this message, whatever the component does next."""
        self._doom = Died(f"{why}; at {user_line()}")
        return self._doom

    def _end_if_doomed(self) -> None:
        if self._doom is not None:
            raise self._doom

    # what the component is called with

    def _guarded(self, call: Callable[[], None]) -> None:
        """Run user code; raises Died if the component's process would be gone after that."""
        before, sys.stdout = sys.stdout, self._prints
        try:
            call()
        except Exception as error:  # whatever user code raises
            self._raised(error, starting=call is not self._run)
        except SystemExit as error:
            self._doom = self._doom or Died(f"the component ended its process: sys.exit({error.code!r})")
        finally:
            sys.stdout = before
        if self._doom is not None:
            raise self._doom

    def _raised(self, error: Exception, *, starting: bool) -> None:
        """As pystorm's `Component.run`."""
        if self._doom is not None:
            return
        _trim(error)
        if starting:
            self._doom = Died("".join(traceback.format_exception(error)).rstrip())
            return
        instance = self._instance
        self._dying = bool(instance.exit_on_exception)
        self._error = None
        try:
            instance._handle_run_exception(error)
        except Exception as another:  # whatever user code raises
            self._error = "".join(traceback.format_exception(another))
        if self._dying and self._doom is None:
            self._doom = Died((self._error or "".join(traceback.format_exception(error))).rstrip())

    def _tell_exception(self, exception: Exception, tup: Any = None) -> None:
        """In the place of pystorm's `raise_exception`: the same text, with the tuple shortened."""
        during = f" while processing Tuple {shortened(repr(tup))}" if tup else ""
        trace = "".join(traceback.format_exception(exception))
        self._instance.send_message({"command": "error", "msg": f"Python {type(exception).__name__} raised{during}\n{trace}"})
        self._instance.send_message({"command": "sync"})

    def _set_up(self, conf: dict[str, Any], context: dict[str, Any]) -> None:
        """pystorm hangs a handler on the root logger for each component, as its process has one; here each task has a
        logger of its own, and nobody else's lines."""
        root = logging.getLogger()
        before = list(root.handlers)
        self._instance._setup_component(conf, context)
        handlers = [handler for handler in root.handlers if handler not in before]
        logger = logging.Logger(self._instance.logger.name, self._instance.logger.level)
        for handler in handlers:
            root.removeHandler(handler)
            logger.addHandler(handler if isinstance(handler, logging.FileHandler) else _ToHost(self._host, handler))
        self._instance.logger = logger


class StockBolt(StockTask):
    """A bolt."""

    kind = pystorm.bolt.Bolt

    def __init__(self, component: type) -> None:
        super().__init__(component)
        self._held: dict[Any, Tuple] = {}
        """Id as the component sees it -> tuple, for those neither acked nor failed."""
        self._spoiled: set[Any] = set()
        """Ids of tuples that fail when they are acked: something of theirs could not be emitted."""
        self._tuple: Any = None

    def execute(self, tup: Tuple) -> None:
        number, source, stream, task, values = tup
        self._held[number := str(number)] = tup
        for value in values:
            if value.__class__ is list or value.__class__ is dict:
                values = copy.deepcopy(values)
                break
        make = self._types[source].get(stream)
        self._tuple = StockTuple(number, source, stream, task, tuple(values) if make is None else make(*values))
        self._status.records_in += 1
        self._guarded(self._run)

    def status(self) -> Status:
        self._status.settled = not self._held
        return self._status

    def _shorten(self) -> None:
        instance = self._instance
        self._run = instance._run
        self._types = instance._source_tuple_types
        self._taken = self._host.ack
        if self._is_stock("read_tuple", "read_command", "read_message"):
            instance.read_tuple = lambda: self._tuple
        if self._is_stock("raise_exception"):
            instance.raise_exception = self._tell_exception
        if self._is_stock("send_message"):
            if self._is_stock("emit"):
                instance.emit = self._emit_directly
            if self._is_stock("ack"):
                instance.ack = self._ack_directly
            instance.send_message = self._checked

    def _checked(self, message: Any) -> None:
        if isinstance(message, dict):
            self.obey(message)
        else:
            self._instance.logger.error("attempted to send a non dict message to Storm: %r", message)

    def _emit_directly(
        self,
        tup: Sequence[Any],
        stream: str | None = None,
        anchors: Iterable[Any] | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        """pystorm's `Bolt.emit` without its messages."""
        if get_ident() != self._thread:
            return cast(Any, self.kind.emit(self._instance, tup, stream, anchors, direct_task, need_task_ids))
        if not isinstance(tup, list | tuple):
            raise TypeError(f"All Tuples must be either lists or tuples, received {type(tup)!r} instead.")
        instance = self._instance
        if anchors is None:
            anchors = instance._current_tups if instance.auto_anchor else ()
        ids = [anchor.id if isinstance(anchor, StockTuple) else anchor for anchor in anchors]
        targets = self._send(tup, "default" if stream is None else stream, ids, direct_task)
        if not need_task_ids:
            return None
        return list(targets) if direct_task is None else [direct_task]

    def _ack_directly(self, tup: Any) -> None:
        tuple_id = tup.id if isinstance(tup, StockTuple) else tup
        if get_ident() != self._thread or tuple_id in self._spoiled:
            self.obey({"command": "ack", "id": tuple_id})
            return
        held = self._held.pop(tuple_id, None)
        if held is None:
            raise self._not_held("acks", tuple_id)
        self._taken(held)

    def _send(self, values: Sequence[Any], stream: str, ids: list[Any], task: int | None) -> Sequence[int]:
        try:
            values = plain(values, self._fields.get(stream, ()))
        except NotData as error:
            spoiled = ids or [tup.id for tup in self._instance._current_tups]
            self._spoiled.update(spoiled)
            self._host.report_error(
                f"emits on stream {stream!r} what cannot be sent: {error}; "
                f"{'its tuple fails' if spoiled else 'it is lost'}; at {user_line()}"
            )
            return ()
        held = self._held
        try:
            causes = [held[tuple_id] for tuple_id in ids]
        except (KeyError, TypeError) as error:
            raise self._not_held("anchors to", error.args[0]) from None
        try:
            targets = self._host.emit(values, stream=stream, anchors=causes, task=task)
        except StormlineError as error:
            raise self._doomed(str(error)) from error
        self._status.records_out += 1
        return targets

    def _emit(self, message: dict[str, Any]) -> None:
        task = message.get("task") or None
        anchors = message.get("anchors") or []
        ids = [anchors] if isinstance(anchors, str) else list(anchors)
        targets = self._send(message["tuple"], message.get("stream") or "default", ids, task)
        if message.get("need_task_ids", True) and task is None:
            self._task_ids.append(list(targets))

    def _judge(self, command: str, tuple_id: Any) -> None:
        held = self._held.pop(tuple_id, None)
        if held is None:
            raise self._not_held(f"{command}s", tuple_id)
        if command == "ack" and tuple_id not in self._spoiled:
            self._host.ack(held)
        else:
            self._spoiled.discard(tuple_id)
            self._status.failed += 1
            self._host.fail(held)

    def _not_held(self, does: str, tuple_id: Any) -> StormlineError:
        return self._doomed(
            f"{does} tuple {tuple_id!r}, which it does not hold: each tuple is acked or failed once, after its last "
            "emit; Storm's worker would end over it"
        )

    def _incoming(self) -> Any:
        tup = self._tuple
        return {"id": tup.id, "comp": tup.component, "stream": tup.stream, "task": tup.task, "tuple": list(tup.values)}


class StockSpout(StockTask):
    """A spout."""

    kind = pystorm.spout.Spout

    def __init__(self, component: type) -> None:
        super().__init__(component)
        self._command: dict[str, Any] = {}
        self._emitted = False

    def prepare(self, host: Host) -> None:
        self._idle_ms = int(host.context.conf.get(WAIT_KEY, 1))
        super().prepare(host)

    def activate(self) -> None:
        self._command_it({"command": "activate", "id": ""})

    def deactivate(self) -> None:
        self._command_it({"command": "deactivate", "id": ""})

    def next_tuple(self) -> bool:
        """An idle spout is asked again after a moment, as Storm's wait strategy has it."""
        self._emitted = False
        self._command_it({"command": "next", "id": ""})
        if not self._emitted:
            self.due_ms = self._host.now_ms() + self._idle_ms
        self._status.settled = not self._emitted
        return self._emitted

    def ack(self, message_id: Any) -> None:
        self._status.acked += 1
        self._command_it({"command": "ack", "id": message_id})

    def fail(self, message_id: Any) -> None:
        self._status.failed += 1
        self._command_it({"command": "fail", "id": message_id})

    def _command_it(self, command: dict[str, Any]) -> None:
        before, self._command = self._command, command
        # Without ackers a tuple is acked while it is being emitted.
        try:
            self._guarded(self._run)
        finally:
            self._command = before

    def _shorten(self) -> None:
        instance = self._instance
        self._run = instance._run
        if self._is_stock("read_command", "read_message"):
            instance.read_command = self._incoming
        if self._is_stock("raise_exception"):
            instance.raise_exception = self._tell_exception
        if self._is_stock("send_message"):
            if self._is_stock("emit"):
                instance.emit = self._emit_directly
            instance.send_message = self.obey

    def _emit_directly(
        self,
        tup: Sequence[Any],
        tup_id: Any = None,
        stream: str | None = None,
        direct_task: int | None = None,
        need_task_ids: bool = False,
    ) -> list[int] | None:
        """pystorm's `Spout.emit` without its messages."""
        if get_ident() != self._thread:
            return cast(Any, self.kind.emit(self._instance, tup, tup_id, stream, direct_task, need_task_ids))
        if not isinstance(tup, list | tuple):
            raise TypeError(f"All Tuples must be either lists or tuples, received {type(tup)!r} instead.")
        targets = self._send(tup, "default" if stream is None else stream, tup_id, direct_task)
        if not need_task_ids:
            return None
        return list(targets) if direct_task is None else [direct_task]

    def _send(self, values: Sequence[Any], stream: str, message_id: Any, task: int | None) -> Sequence[int]:
        try:
            values = plain(values, self._fields.get(stream, ()))
            if message_id is not None and message_id.__class__ is not str and message_id.__class__ is not int:
                (message_id,) = plain([message_id], ["id"])
        except NotData as error:
            end = "it fails" if message_id is not None else "it is lost, as it has no id"
            self._host.report_error(f"emits on stream {stream!r} what cannot be sent: {error}; {end}; at {user_line()}")
            if message_id is not None:
                self._host.post(lambda: self.fail(message_id))
            return ()
        self._emitted = True
        self._status.records_out += 1
        try:
            return self._host.emit(values, stream=stream, message_id=message_id, task=task)
        except StormlineError as error:
            raise self._doomed(str(error)) from error

    def _emit(self, message: dict[str, Any]) -> None:
        task = message.get("task") or None
        targets = self._send(message["tuple"], message.get("stream") or "default", message.get("id"), task)
        if message.get("need_task_ids", True) and task is None:
            self._task_ids.append(list(targets))

    def _judge(self, command: str, tuple_id: Any) -> None:
        raise self._doomed(f"sends {command!r}, which is a bolt's; Storm's worker would end over it")

    def _incoming(self) -> Any:
        return self._command


class _Direct(Serializer):  # type: ignore[misc]
    """In the place of pystorm's JSON on stdin and stdout, neither of which it touches."""

    task: StockTask

    def __init__(self, input_stream: Any, output_stream: Any, reader_lock: Any, writer_lock: Any) -> None:
        super().__init__(None, None, reader_lock, writer_lock)

    def read_message(self) -> Any:
        return self.task.read()

    def send_message(self, msg_dict: dict[str, Any]) -> None:
        self.task.obey(msg_dict)


class _ToHost(logging.Handler):
    """A task's own log lines, formatted as pystorm's handler was told to."""

    def __init__(self, host: Host, like: logging.Handler) -> None:
        super().__init__(like.level)
        self._host = host
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._host.log(record.levelno, self.format(record))
        except Exception:  # a log line must not end what it tells of
            self.handleError(record)


class _Prints(io.TextIOBase):
    """What a component prints, line by line, into its task's log."""

    def __init__(self, task: StockTask) -> None:
        self._task = task
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._task.printed(line)
        return len(text)

    def fileno(self) -> int:
        return 2 if os.name == "posix" else super().fileno()


def _trim(error: Exception) -> None:
    """Leave the frames before the user's own out of the traceback, if there are any of the user's."""
    trace = error.__traceback__
    while trace is not None and of_framework(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is not None:
        error.__traceback__ = trace
