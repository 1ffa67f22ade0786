"""A spout that reads Kafka: records in batches of one partition, each emitted until it is acked (S1 to S6)."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, ClassVar

import streamparse

from stormline.components.dead_letters import DeadLetters
from stormline.components.decoding import Decoder
from stormline.components.host import Host
from stormline.components.hosted import Hosted, positive, record_schema, required, text
from stormline.components.outputs import Outputs, broken_reason
from stormline.components.start import EARLIEST, Start, positions, start_ms, start_setting
from stormline.components.values import schema_faults, value_setting
from stormline.components.wiring import PROGRESS, WiredSpoutSpec, spout_spec
from stormline.core.duration import duration_ms
from stormline.core.errors import Died, ServerError, SettingsError, UserCodeError
from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Trouble
from stormline.core.progress import Told
from stormline.core.record import Origin, Record
from stormline.core.requests import Applied, Ended, Ends, Enter, Mark, Refused, Reply
from stormline.core.source import Limits, Source
from stormline.core.status import Status

PROGRESS_EVERY_MS = 200
COMMIT_EVERY_MS = 1000
COMMIT_AFTER_MS = 100
"""A task that has caught up, with all of it acked, commits so soon after the last time."""
RETRY_AFTER_MS = 500
LOOK_AGAIN_MS = 5_000
"""Whether a halt is over."""
BATCHES_A_FETCH = 8
"""So many batches of one partition are handed over by the reader's thread at once: each time costs both threads a wait
for the interpreter's lock."""


class KafkaSpout(Hosted, streamparse.Spout):
    """Reads a topic whose values are all of one schema: JSON, msgpack, text, bytes, or what a method `decode` reads.

    Key, headers, timestamp and origin of a record are fields of the schema that say so (`FromKafka`).
    """

    settings: ClassVar[dict[str, Any]] = {
        "topic": text,
        "schema": record_schema,
        "value": value_setting,
        "start": start_setting,
        "event_time": text,
        "out_of_order": duration_ms,
        "max_ahead": duration_ms,
        "idle_after": duration_ms,
        "max_batch": positive,
        "max_pending": positive,
        "span": positive,
    }

    topic: str
    schema: type[Record]
    value: str = "json"
    """What the values are: "json", "msgpack", or "text" or "bytes", which fill the one field of the schema."""
    start: Start = EARLIEST
    """Where to start in a partition without a committed offset: "earliest", "latest", a time (datetime or ISO 8601), or
    offsets by partition number; "committed": nowhere, stop."""
    event_time: str | None = None
    """The field that holds the event time; None: the timestamp of the Kafka record."""
    out_of_order: str = "0s"
    """How far behind the newest record of its partition a record may be without being late."""
    max_ahead: str = "1d"
    """A record further ahead of the wall clock is treated as broken: it would close all windows before it."""
    idle_after: str | None = None
    """A partition without news for so long stops holding windows open; None: never."""
    max_batch: int = 500
    """Records in one tuple, at most."""
    max_pending: int = 120_000
    """Records fetched and not yet acked, at most, for each task."""
    span: int = 100_000
    """Offsets between the oldest unacked record of a partition and the next one to read, at most."""

    def decode(self, raw: bytes) -> Record:
        """Read a value as a record of `schema`, in the place of `value`. A subclass may have it; if it raises, the
        record goes to the dead-letter topic with the traceback."""
        raise AssertionError("called only where a subclass has it")

    @classmethod
    def spec(  # type: ignore[override]
        cls, name: str | None = None, par: Any = None, config: dict[str, Any] | None = None
    ) -> WiredSpoutSpec:
        """The component in a topology; `par`: its tasks, among which the partitions are dealt out."""
        own = cls.decode is not KafkaSpout.decode
        if faults := required(cls, "topic", "schema") or schema_faults(cls, own=own):
            raise SettingsError(*faults)
        return spout_spec(cls, cls.schema, name=name, par=par, config=config)

    def prepare(self, host: Host) -> None:
        self.host = host
        context, conf = host.context, host.context.conf
        tasks = list(context.tasks_by_component[context.component])
        idle_after = None if self.idle_after is None or conf.get("stormline.bounded") else duration_ms(self.idle_after)
        self._source = Source(
            context.component,
            context.task,
            secrets.token_hex(8),
            Limits(duration_ms(self.out_of_order), self.max_pending, self.span, idle_after),
        )
        own = None if type(self).decode is KafkaSpout.decode else self.decode
        self._decoder = Decoder(self.schema, self.event_time, duration_ms(self.max_ahead), self.value, own)
        self._outputs = Outputs(host)
        self._dead = DeadLetters(host)
        self._store = host.edges.store(app=conf["stormline.app"], post=host.post)
        self._reader = host.edges.reader(
            topic=self.topic,
            group=conf["stormline.app"],
            task_index=tasks.index(context.task),
            task_count=len(tasks),
            max_batch=self.max_batch * BATCHES_A_FETCH,
            timestamps=self.event_time is None,
            start_ms=start_ms(self.start),
            on_event=self._on_event,
            post=host.post,
        )
        self._bounded = bool(conf.get("stormline.bounded"))
        self._told = Told() if conf.get("stormline.tracked") else None
        self._assigned: Assigned | None = None
        self._entered = self._asking = self._halted = self._active = False
        self._committing: dict[str, int] | None = None
        self._failed = 0
        self._marked: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._unpinned: set[str] = set()
        """Partitions whose start is not committed yet."""
        self._next_progress_ms = self._next_commit_ms = self._next_ends_ms = host.now_ms()
        self._retry_ms: int | None = None
        self._status = Status(chained=self._outputs.status.chained)
        self._trouble: str | None = None
        self._parts: dict[str, int] = {}
        self._emissions = 0

    def activate(self) -> None:
        self._active = True
        self._fetch_on()

    def deactivate(self) -> None:
        """Emit nothing more; what is on its way is still acked and committed."""
        self._active = False
        self._reader.want(frozenset())
        self._set_due()

    def next_tuple(self) -> bool:
        if not self._active or self._halted:
            return False
        emission = self._source.next(self.host.now_ms())
        if emission is None:
            return False
        component = self.host.context.component
        tuples, broken = self._outputs.take("", emission.partition, emission.records)
        if any(whose == component for whose, _ in broken):
            raise UserCodeError(f"{component}: a key function raised on a record it accepted before")
        self._emissions += 1
        whole = f"{self._emissions}/{emission.message_id}"
        # One more for this call: so a batch of which nothing is sent on is done with, too.
        self._parts[whole] = len(tuples) + len(broken) + 1
        for number, (stream, values) in enumerate(tuples):
            self.host.emit(values, stream=stream, message_id=f"{number}/{whole}")
        for whose, each in broken:
            self._dead.set_aside(whose, emission.partition, each, partial(self._done, whole))
        self._done(whole)
        self._fetch_on()
        return True

    def ack(self, message_id: str) -> None:
        """One tuple of an emission is done; the batch is when all are, and the dead letters of chained components."""
        kind, _, whole = message_id.partition("/")
        if kind == PROGRESS and self._told is not None:
            self._told.came_to(int(whole), arrived=True)
            return
        self._done(whole)

    def _done(self, whole: str) -> None:
        """One part of an emission is taken care of, if it has not failed meanwhile."""
        if whole not in self._parts:
            return
        self._parts[whole] -= 1
        if self._parts[whole] == 0:
            del self._parts[whole]
            self._source.ack(whole.partition("/")[2])
            self._fetch_on()
            if self._source.caught_up:
                self._set_due()

    def fail(self, message_id: str) -> None:
        """One tuple of an emission failed: all of the batch is emitted again, what is counted already is skipped."""
        kind, _, whole = message_id.partition("/")
        if kind == PROGRESS and self._told is not None:
            self._told.came_to(int(whole), arrived=False)
        elif self._parts.pop(whole, None) is not None:
            self._source.fail(whole.partition("/")[2], self.host.now_ms())
            self._set_due()

    # Kafka

    def _on_event(self, event: ReaderEvent) -> None:
        match event:
            case Assigned():
                self._assigned = event
                self._enter(event)
            case Fetched():
                self._take(event)
            case Committed():
                self._committed.update(event.offsets)
                self._committing = None
                if self._unpinned:
                    self._unpinned -= event.offsets.keys()
                    self._fetch_on()
            case Trouble():
                if event.fatal:
                    raise ServerError(f"{self.host.context.component}: {event.message}")
                self._trouble = event.message
                self._committing = None

    def _enter(self, assigned: Assigned) -> None:
        """Check what Kafka has committed against what Redis knows, before the first record (S1)."""
        self._positions = positions(self.host.context.component, self.start, assigned.standings)
        committed = {a.partition: a.committed for a in assigned.standings if a.committed is not None}
        self._retry_ms = None
        names = tuple(a.partition for a in assigned.standings)
        enter = Enter(self.host.context.component, assigned.partition_count, committed, names)
        self._store.submit([enter], partial(self._on_entered, assigned, committed))

    def _on_entered(self, assigned: Assigned, committed: dict[str, int], replies: list[Reply]) -> None:
        (reply,) = replies
        if isinstance(reply, Refused):
            self._halt(reply.why)
        elif not isinstance(reply, Applied):
            self._retry_ms = self.host.now_ms() + RETRY_AFTER_MS
            self._set_due()
        else:
            now_ms = self.host.now_ms()
            self._source.partition_count = assigned.partition_count
            for a in assigned.standings:
                self._source.assign(a.partition, self._positions[a.partition], a.log_end, now_ms)
            self._committed, self._marked = committed, dict(committed)
            self._entered = True
            if self.start != EARLIEST:
                # Another start would find another place: nothing is read before this one is committed.
                self._unpinned = self._positions.keys() - self._committed.keys()
            self._reader.start(self._positions)
            self._fetch_on()
            self._set_due()

    def _take(self, fetched: Fetched) -> None:
        """What was fetched in one go, in batches of `max_batch`."""
        for first in range(0, max(len(fetched.offsets), 1), self.max_batch):
            self._take_batch(fetched.piece(first, first + self.max_batch))
        self._fetch_on()

    def _take_batch(self, fetched: Fetched) -> None:
        now_ms = self.host.now_ms()
        rows, bad = self._decoder.rows(fetched, now_ms)
        kept = self._outputs.keep(rows) if self._outputs.splits else None
        component = self.host.context.component
        letters = [(u.offset, u.key, u.value, f"{component}: {u.reason}", u.error) for u in bad]
        if kept is not None:
            rows = kept.rows
            for b in kept.broken:
                letters.append((b.offset, None, b.value, broken_reason(component, b.value, b.error), b.error))
        offsets = [letter[0] for letter in letters]
        numbers = self._source.take(fetched.partition, rows, offsets, fetched.next_offset, fetched.log_end, now_ms)
        for number, (offset, key, value, reason, error) in zip(numbers, letters, strict=True):
            self._status.broken += 1
            self._dead.send(
                Origin(fetched.partition, offset),
                key=key,
                value=value,
                reason=reason,
                error=error,
                attempts=1,
                settled=partial(self._source.settle, fetched.partition, number),
            )

    def _fetch_on(self) -> None:
        if self._active and self._entered and not (self._halted or self._unpinned):
            self._reader.want(self._source.wanted())

    # time

    def on_time(self, now_ms: int) -> None:
        self._dead.on_time(now_ms)
        if self._retry_ms is not None and now_ms >= self._retry_ms:
            self._retry_ms = None
            if self._halted:
                self._store.submit([Mark(self._marked, self._marked)], self._look_again)
            else:
                assert self._assigned is not None
                self._enter(self._assigned)
        if self._entered and not self._halted:
            if now_ms >= self._next_progress_ms:
                self._next_progress_ms = now_ms + PROGRESS_EVERY_MS
                self._tell(now_ms)
            if self._bounded and not self._asking and now_ms >= self._next_ends_ms:
                self._asking = True
                self._store.submit([Ends(self.topic)], self._on_ends)
            quiet = self._source.caught_up and now_ms >= self._next_commit_ms - COMMIT_EVERY_MS + COMMIT_AFTER_MS
            if now_ms >= self._next_commit_ms or quiet or (self._source.ended and not self._settled):
                self._next_commit_ms = now_ms + COMMIT_EVERY_MS
                self._commit()
        self._set_due()

    def _tell(self, now_ms: int) -> None:
        """Progress for all keyed bolts; tracked only where something is anchored to it."""
        progress = self._source.progress(now_ms)
        if self._told is None:
            self.host.emit((progress,), stream=PROGRESS)
            return
        progress = self._told.stamp(progress)
        self.host.emit((progress,), stream=PROGRESS, message_id=f"{PROGRESS}/{progress.sequence}")

    def _on_ends(self, replies: list[Reply]) -> None:
        (reply,) = replies
        if isinstance(reply, Ended) and reply.offsets is not None:
            assert self._assigned is not None
            self._source.bound({a.partition: reply.offsets.get(a.number, 0) for a in self._assigned.standings})
        else:
            self._asking = False
            self._next_ends_ms = self.host.now_ms() + PROGRESS_EVERY_MS

    def _commit(self) -> None:
        """Redis first, then Kafka: so Kafka never knows more than Redis, unless Redis has lost data (S5).

        After failures Redis is asked though there is nothing to write: the app may be halted.
        """
        frontiers = {p: o for p, o in self._source.frontiers().items() if o > self._committed.get(p, -1)}
        if self._committing is not None or not (frontiers or self._source.failed > self._failed):
            return
        self._failed = self._source.failed
        self._committing = frontiers
        self._store.submit([Mark(frontiers or dict(self._marked), dict(self._marked))], self._on_marked)

    def _on_marked(self, replies: list[Reply]) -> None:
        (reply,) = replies
        frontiers = self._committing
        if isinstance(reply, Refused):
            self._halt(reply.why)
        elif not isinstance(reply, Applied) or not frontiers:
            self._committing = None
        else:
            self._marked.update(frontiers)
            self._reader.commit(frontiers)

    def _halt(self, why: str) -> None:
        """Stay alive, emit nothing, say why, until an operator has looked (`sparse resume`)."""
        if not self._halted:
            self.host.report_error(f"halted: {why}")
        self._halted, self._why = True, why
        self._trouble = f"halted: {why}"
        self._reader.want(frozenset())
        self._retry_ms = self.host.now_ms() + LOOK_AGAIN_MS
        self._set_due()

    def _look_again(self, replies: list[Reply]) -> None:
        (reply,) = replies
        if isinstance(reply, Applied):
            raise Died(f"{self.host.context.component}: the halt is over, and this task begins anew")
        self._halt(reply.why if isinstance(reply, Refused) else self._why)

    def _set_due(self) -> None:
        dues = [self._dead.due_ms, self._retry_ms]
        if self._entered and not self._halted:
            dues.append(self._next_progress_ms)
            if self._source.caught_up and any(
                o > self._committed.get(p, -1) for p, o in self._source.frontiers().items()
            ):
                dues.append(self._next_commit_ms - COMMIT_EVERY_MS + COMMIT_AFTER_MS)
            if self._active:  # what failed is emitted by `next_tuple`, which an inactive spout is not asked for
                dues.append(self._source.due_ms)
        self.due_ms = min((due for due in dues if due is not None), default=None)

    @property
    def _settled(self) -> bool:
        frontiers = self._source.frontiers()
        ended = self._source.ended or (self._entered and not frontiers)
        return ended and all(self._committed.get(p, 0) >= o for p, o in frontiers.items())

    def status(self) -> Status:
        status, source = self._status, self._source
        status.records_in, status.replayed, status.failed = source.read, source.replayed, source.failed
        status.records_out = self._outputs.status.records_out
        status.acked, status.lag = source.acked, source.lag
        status.watermark_ms = source.watermark_ms
        status.settled = self._settled and self._dead.waiting == 0
        status.trouble = self._trouble or self._dead.trouble
        return status

    def close(self) -> None:
        self._reader.close()
        self._dead.close()
