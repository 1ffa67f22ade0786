"""A stock streamparse component in this process: pystorm's own `_run`, with its reading and sending replaced.

Whatever a user's class overrides (`emit`, `ack`, `send_message`, `read_tuple`, ...) keeps its say. What it leaves as it
is takes a shorter way that builds no messages. As on a cluster, values are seen as JSON leaves them, and an exception
ends the component (`Died`) unless its `exit_on_exception` is false.

Not as on a cluster: an emit that has no form in JSON fails its tuple, where pystorm would drop it and ack.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import get_ident
from typing import Any

from pystorm.component import _SERIALIZERS

from stormline.components.host import Host
from stormline.core.errors import Died, StormlineError
from stormline.core.status import Status
from stormline.engine.standins import Direct, Prints, ToHost
from stormline.multilang.traces import told, trim, user_line

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
    _instance_run: Any = None
    """The component's `_run`; None until it is made."""

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

    def prepare(self, host: Host) -> None:
        """Raises Died for an exception of the component's own."""
        self._host = host
        self._thread = get_ident()
        self._prints = Prints(self)
        _SERIALIZERS.setdefault(SERIALIZER, Direct)
        said = json.loads(json.dumps(host.handshake(), default=str))
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

    def _emit_as_stock(self, *given: Any) -> list[int] | None:
        """pystorm's own `emit`, which sends a message."""
        return self.kind.emit(self._instance, *given)  # type: ignore[no-any-return]

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
            self._raised(error, starting=call is not self._instance_run)
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
        trim(error)
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
        self._instance.send_message({"command": "error", "msg": told(exception, tup)})
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
            logger.addHandler(handler if isinstance(handler, logging.FileHandler) else ToHost(self._host, handler))
        self._instance.logger = logger
