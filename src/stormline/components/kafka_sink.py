"""A bolt that writes to Kafka: a tuple is acked once the broker has confirmed all that came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import msgspec
import streamparse

from stormline.components.dead_letters import DeadLetters
from stormline.components.host import Host, Tuple
from stormline.components.hosted import Hosted, record_schema, required, text
from stormline.components.plain_tuples import NO_PARTITION, PlainInput, carries_batch
from stormline.components.producing import Producing
from stormline.components.wiring import WiredBoltSpec, resolve, stateless_spec
from stormline.core.batch import Batch
from stormline.core.errors import SettingsError
from stormline.core.keyed_slot import Held
from stormline.core.record import Origin, Record
from stormline.core.split import Broken
from stormline.core.status import Status

MOST_IN_FLIGHT = 5_000
"""Messages given to the client at once. More wait as records, of which the spouts' `max_pending` allows so many."""


class Message(NamedTuple):
    """What goes to Kafka. Text is written as UTF-8, bytes as they are."""

    value: Any
    """bytes or str; None: a tombstone; anything else (a Record, a dict) as JSON."""
    key: str | bytes | None = None
    headers: Mapping[str, str | bytes] = {}


@dataclass(slots=True)
class _Waiting:
    """A record whose message is not confirmed."""

    held: Held
    """The tuple that brought it last."""
    origin: Origin
    identity: list[tuple[str, bytes]]
    """Headers by which a reader can tell what came twice: first the `id`, if it has one."""
    record: Any
    attempt: int

    @property
    def id(self) -> bytes | None:
        """By which it is known when it comes again."""
        return self.identity[0][1] if self.identity else None


class KafkaSink(Hosted, streamparse.Bolt):
    """Writes each record it gets to a topic, at least once; a method `message` says as what.

    Each message has the header `id`: what comes twice, since something died, comes with the same one. The header
    `origin` says from which record of Kafka it came, if from one.
    """

    settings: ClassVar[dict[str, Any]] = {"topic": text, "schema": record_schema, "event_time": text}

    topic: str
    schema: type[Record] | None = None
    """Below a stock component, or a stream of a keyed bolt: as what its plain tuples are read."""
    event_time: str | None = None

    def message(self, record: Any) -> Message | None:
        """The message of a record; None: nothing is sent. If it raises, the record goes to the dead-letter topic."""
        return Message(record)

    @classmethod
    def spec(  # type: ignore[override]
        cls, name: str | None = None, inputs: Any = None, par: Any = None, config: dict[str, Any] | None = None
    ) -> WiredBoltSpec:
        """The component in a topology. `inputs`: specs or streams it reads from; `par`: its tasks."""
        faults = required(cls, "topic")
        if faults:
            raise SettingsError(*faults)
        spec = stateless_spec(cls, inputs, name=name, par=par, config=config)
        spec.outputs.clear()
        return spec

    def prepare(self, host: Host) -> None:
        self.host = host
        self._plain = PlainInput(host, resolve(host.context.conf["stormline.schema"]), self.event_time)
        self._producing = Producing(host, create=False)
        self._dead = DeadLetters(host)
        self._queue: deque[_Waiting] = deque()
        self._waiting: dict[bytes, _Waiting] = {}
        """By `id`: what waits, in the queue or with the client."""
        self._status = Status(settled=True)

    def execute(self, tup: Tuple) -> None:
        try:
            _, lane, partition, rows, attempt = Batch(*tup.values) if carries_batch(tup) else self._plain.batch(tup)
        except ValueError as error:
            self._status.broken += 1
            self._dead.unreadable(tup, error)
            return
        self._status.records_in += len(rows.offsets)
        held = Held(tup)
        held.waits = len(rows.offsets)
        for offset, record in zip(rows.offsets, rows.values, strict=True):
            origin = Origin(partition, offset)
            self._take(_Waiting(held, origin, self._identity(tup, lane, origin), record, attempt))
        self._send_on()

    def _take(self, new: _Waiting) -> None:
        """A record is to be written; once, however often it comes while Kafka takes nothing."""
        if new.id is not None:
            waiting = self._waiting.setdefault(new.id, new)
            if waiting.held is not new.held and waiting.record == new.record:
                self._give_up(waiting.held)
                waiting.held, waiting.attempt = new.held, new.attempt
                return
        self._queue.append(new)

    def _give_up(self, held: Held) -> None:
        """What it brought has come again, so it has failed; or its spout is gone. Not acked, as that one may live."""
        if held.waits > 0:
            held.waits = 0  # and what of it is confirmed later finds nothing to ack
            self.host.fail(held.tup)

    def _identity(self, tup: Tuple, lane: str, origin: Origin) -> list[tuple[str, bytes]]:
        if origin.partition != NO_PARTITION:
            # The lane too: a record that comes by two ways is two messages.
            return [("id", f"{lane}:{origin.partition}/{origin.offset}".encode()), ("origin", str(origin).encode())]
        identity = self._plain.named(tup).get("id")
        return [] if identity is None else [("id", str(identity).encode())]

    def _send_on(self) -> None:
        """Give the client what it may have."""
        while self._queue and self._producing.waiting < MOST_IN_FLIGHT:
            waiting = self._queue.popleft()
            try:
                message = self.message(waiting.record)
                if message is None:
                    self._status.dropped += 1
                    self._release(waiting)
                    continue
                key, value, headers = _written(message)
            except Exception as error:  # whatever user code raises
                self._status.broken += 1
                self._forget(waiting)
                broken = Broken(waiting.origin.offset, waiting.record, error)
                settled = partial(self._release, waiting)
                component, partition = self.host.context.component, waiting.origin.partition
                self._dead.set_aside(component, partition, broken, waiting.attempt, settled)
                continue
            self._producing.send(
                self.topic,
                key=key,
                value=value,
                headers=[*headers, *waiting.identity],
                done=partial(self._done, waiting),
            )

    def _done(self, waiting: _Waiting, refused: str | None) -> None:
        if refused is not None:
            self._never_taken(waiting, refused)
        else:
            self._status.records_out += 1
            self._release(waiting)
        self._send_on()

    def _never_taken(self, waiting: _Waiting, refused: str) -> None:
        self._status.broken += 1
        self._forget(waiting)
        self._dead.send(
            waiting.origin,
            key=None,
            value=waiting.record,
            reason=f"{self.host.context.component}: {refused}",
            error=None,
            attempts=waiting.attempt,
            settled=partial(self._release, waiting),
        )

    def _release(self, waiting: _Waiting) -> None:
        """It is taken care of."""
        self._forget(waiting)
        if waiting.held.release():
            self.host.ack(waiting.held.tup)

    def _forget(self, waiting: _Waiting) -> None:
        """It is no message any more, or is confirmed."""
        if waiting.id is not None and self._waiting.get(waiting.id) is waiting:
            del self._waiting[waiting.id]

    @property
    def due_ms(self) -> int | None:  # type: ignore[override]
        dues = [due for due in (self._producing.due_ms, self._dead.due_ms) if due is not None]
        return min(dues, default=None)

    def on_time(self, now_ms: int) -> None:
        self._producing.on_time(now_ms)
        self._dead.on_time(now_ms)

    def status(self) -> Status:
        self._status.trouble = self._producing.trouble or self._dead.trouble
        self._status.settled = not (self._queue or self._producing.waiting or self._dead.waiting)
        return self._status

    def close(self) -> None:
        self._producing.close()
        self._dead.close()


def _written(message: Any) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Key, value and headers as bytes. Raises TypeError for what cannot be."""
    if not isinstance(message, Message):
        raise TypeError(f"message returned {message!r}; give a Message, or None for nothing")
    value = message.value
    if value is not None:
        value = _bytes(value) if isinstance(value, str | bytes) else msgspec.json.encode(value)
    key = None if message.key is None else _bytes(message.key)
    return key, value, [(name, _bytes(content)) for name, content in message.headers.items()]


def _bytes(content: Any) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if not isinstance(content, bytes):
        raise TypeError(f"a key or header is {content!r}; give text or bytes")
    return content
