"""A stock bolt in this process; see `engine.stock`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from threading import get_ident
from typing import Any

import pystorm
from pystorm.component import Tuple as StockTuple

from stormline.components.host import Tuple
from stormline.core.errors import StormlineError
from stormline.core.status import Status
from stormline.engine.stock import StockTask
from stormline.multilang.plain import NotData, plain
from stormline.multilang.traces import user_line


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
        self._guarded(self._instance_run)

    def status(self) -> Status:
        self._status.settled = not self._held
        return self._status

    def _shorten(self) -> None:
        instance = self._instance
        self._instance_run = instance._run
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
            return self._emit_as_stock(tup, stream, anchors, direct_task, need_task_ids)
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
