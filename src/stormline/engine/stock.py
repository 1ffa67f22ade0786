"""Stock streamparse components, unchanged, in the worker's own process and thread.

A component's `_run` is called for each tuple, as pystorm's own loop does; what it would read from stdin and write to
stdout goes to and from its host instead. Its class, its overrides and pystorm's code stay as they are.
"""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from pystorm.component import Tuple as StockTuple

from stormline.components.host import Host, Tuple
from stormline.core.errors import Died, StormlineError, UserCodeError
from stormline.core.status import Status
from stormline.engine.prints import Prints
from stormline.engine.values import FRAMEWORK, NotSerialisable, after_json, short

LEVELS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
"""Storm's log levels 0 (trace) to 4 (error), as Python's."""
SPOUT_WAIT_MS = 1
"""An idle spout is asked again after this; Storm's `topology.sleep.spout.wait.strategy.time.ms`."""


class Stock:
    """What spouts and bolts have in common: the component, and what it says."""

    due_ms: int | None = None

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._status = Status(settled=True)
        self._task_ids: list[int] = []

    def prepare(self, host: Host) -> None:
        self.host = host
        self._name = f"{host.context.component} (task {host.context.task})"
        self._prints = Prints(lambda line: host.log(logging.INFO, line))
        self._guarded(self._make)

    def close(self) -> None:
        """Stock components are not told of their end."""

    def on_time(self, now_ms: int) -> None:
        self.due_ms = None

    def status(self) -> Status:
        return self._status

    def _make(self) -> None:
        handshake = self.host.handshake()
        conf, context = handshake["conf"], handshake["context"]
        self.component: Any = self._cls(
            input_stream=io.BytesIO(), output_stream=io.BytesIO(), rdb_signal=None, serializer="json"
        )
        component = self.component
        component.send_message = lambda message: None
        component.serializer.send_message = component.send_message
        root = logging.getLogger()
        handlers = list(root.handlers)
        component._setup_component(conf, context)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)  # it would tell the lines of every component in this process as this one's
        component.logger = _logger(component, self.host)
        component.send_message = self._obey
        component.serializer.send_message = self._obey
        component.read_task_ids = lambda: self._task_ids
        component.initialize(conf, context)

    def _guarded(self, call: Callable[..., Any], *args: Any) -> None:
        """Call into the user's code: prints go to the log, and an exception means what it means to pystorm's loop."""
        stdout, sys.stdout = sys.stdout, self._prints
        try:
            call(*args)
        except NotSerialisable as error:
            self._failed(error, str(error), may_go_on=True)
        except UserCodeError as error:
            raise Died(str(error)) from error  # a misuse of the protocol, which ends the worker on Storm
        except StormlineError:
            raise
        except Exception as error:
            self._failed(error, _told(error), may_go_on=False)
        except SystemExit as error:
            raise Died(f"{self._name}: exits with {error.code!r}") from error
        finally:
            sys.stdout = stdout

    def _failed(self, error: Exception, told: str, *, may_go_on: bool) -> None:
        """pystorm's loop: report, let the component fail what it holds, then end the process unless it is not to.

        An emit that cannot be serialised is lost on Storm, and its tuple acked; here it fails, and nothing more.
        """
        component = getattr(self, "component", None)
        current = getattr(component, "_current_tups", ())
        which = "".join(f"\nwhile processing {short(tup)}" for tup in current[:3])
        self.host.report_error(f"{told}{which}")
        if component is not None and hasattr(component, "_handle_run_exception"):
            self._quiet = True
            try:
                component._handle_run_exception(error)
            finally:
                self._quiet = False
            component._current_tups = []
        if not may_go_on and (component is None or component.exit_on_exception):
            raise Died(f"{type(error).__name__}: {error}") from error

    _quiet = False
    """An error is told already, in the user's terms: pystorm's own account of it is left out."""

    def _obey(self, message: Mapping[str, Any]) -> None:
        """What the component would write to Storm."""
        match message.get("command"):
            case "emit":
                self._emit(message)
            case "ack":
                self._done(message["id"], self.host.ack)
            case "fail":
                self._done(message["id"], self.host.fail)
            case "log":
                self.host.log(LEVELS[message.get("level", 2)], str(message["msg"]))
            case "error":
                if not self._quiet:
                    self.host.report_error(str(message["msg"]))
            case "metrics":
                self.host.log(logging.DEBUG, f"metric {message.get('name')!r} is dropped: Storm knows no such metric")

    def _emit(self, message: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _done(self, number: Any, end: Callable[[Tuple], None]) -> None:
        raise UserCodeError(f"{self._name}: a spout has no tuples to ack or fail")


class StockSpout(Stock):
    """A stock spout."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self._status.settled = False
        self._emitted = 0

    def activate(self) -> None:
        self._guarded(self.component.activate)

    def deactivate(self) -> None:
        self.due_ms = None
        self._guarded(self.component.deactivate)

    def next_tuple(self) -> bool:
        before = self._emitted
        self._guarded(self.component.next_tuple)
        if self._emitted != before:
            return True
        self.due_ms = self.host.now_ms() + SPOUT_WAIT_MS
        return False

    def ack(self, message_id: Any) -> None:
        self._status.acked += 1
        self._guarded(self.component.ack, message_id)

    def fail(self, message_id: Any) -> None:
        self._status.failed += 1
        self._guarded(self.component.fail, message_id)

    def _emit(self, message: Mapping[str, Any]) -> None:
        (message_id,) = after_json((message.get("id"),))
        self._task_ids = list(
            self.host.emit(
                after_json(message["tuple"]),
                stream=message.get("stream") or "default",
                message_id=message_id,
                task=message.get("task") or None,
            )
        )
        self._emitted += 1
        self._status.records_out += 1


class StockBolt(Stock):
    """A stock bolt."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls)
        self._held: dict[str, Tuple] = {}
        """Tuples neither acked nor failed, by the id that the component knows."""

    def _make(self) -> None:
        super()._make()
        self._types = self.component._source_tuple_types

    def execute(self, tup: Tuple) -> None:
        number = str(tup.id)
        self._held[number] = tup
        self._status.records_in += 1
        _, component, stream, task, values = tup
        kind = self._types[component].get(stream)
        stock = StockTuple(number, component, stream, task, tuple(values) if kind is None else kind(*values))
        self.component.read_tuple = lambda: stock
        self._guarded(self.component._run)

    def _emit(self, message: Mapping[str, Any]) -> None:
        anchors = message.get("anchors") or ()
        self._task_ids = list(
            self.host.emit(
                after_json(message["tuple"]),
                stream=message.get("stream") or "default",
                anchors=[self._of(number, "anchors to") for number in anchors],
                task=message.get("task") or None,
            )
        )
        self._status.records_out += 1

    def _done(self, number: Any, end: Callable[[Tuple], None]) -> None:
        tup = self._of(number, "acks or fails")
        del self._held[str(number)]
        end(tup)

    def _of(self, number: Any, does: str) -> Tuple:
        tup = self._held.get(str(number))
        if tup is None:
            raise Died(
                f"{self._name}: {does} tuple {number}, which it does not hold; on Storm this ends the worker. Ack or "
                "fail each tuple once, after the last emit that is anchored to it"
            )
        return tup


class _ToHost(logging.Handler):
    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def emit(self, record: logging.LogRecord) -> None:
        self._host.log(record.levelno, self.format(record))


def _logger(component: Any, host: Host) -> logging.Logger:
    """The component's own logger, of the name and level that pystorm gave it, with its host as the only handler."""
    logger = logging.Logger(component.logger.name, component.logger.level)
    logger.addHandler(_ToHost(host))
    return logger


def _told(error: Exception) -> str:
    """The traceback, without the frames of the framework and pystorm."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename for part in FRAMEWORK)
    ]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)] if frames else []
    return "".join([*lines, *traceback.format_exception_only(error)]).rstrip()
