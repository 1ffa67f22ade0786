"""A stock spout in this process; see `engine.stock`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import get_ident
from typing import Any

import pystorm

from stormline.components.host import Host
from stormline.core.errors import StormlineError
from stormline.engine.stock import WAIT_KEY, StockTask
from stormline.multilang.plain import NotData, plain
from stormline.multilang.traces import user_line


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
        self._status.settled = True  # whatever it has left, it is not asked for it

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
            self._guarded(self._instance_run)
        finally:
            self._command = before

    def _shorten(self) -> None:
        instance = self._instance
        self._instance_run = instance._run
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
            return self._emit_as_stock(tup, tup_id, stream, direct_task, need_task_ids)
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
