"""A spout that reads Kafka: records in batches of one partition, each emitted until it is acked (S1 to S6)."""

from __future__ import annotations

import logging
import secrets
from functools import partial
from typing import Any, ClassVar

import streamparse

from stormline.components.dead_letters import DeadLetters
from stormline.components.decoding import Decoder
from stormline.components.host import Host
from stormline.components.hosted import Hosted, positive, record_schema, required, text, topics_setting
from stormline.components.offsets import Offsets
from stormline.components.outputs import Outputs, broken_reason
from stormline.components.skips import SKIPPED, Skips
from stormline.components.start import EARLIEST, Start, check_committed, positions, start_ms, start_setting
from stormline.components.values import schema_faults, value_setting
from stormline.components.wiring import PROGRESS, WiredSpoutSpec, spout_spec
from stormline.core.duration import duration_ms
from stormline.core.errors import ServerError, SettingsError, UserCodeError
from stormline.core.events import Assigned, Committed, Fetched, ReaderEvent, Trouble
from stormline.core.pending import Limits
from stormline.core.progress import Told
from stormline.core.record import Origin, Record
from stormline.core.requests import Ended, Ends, Entered, Reply
from stormline.core.source import Source
from stormline.core.status import Status
from stormline.core.topics import Topics, named, shown

PROGRESS_EVERY_MS = 200
BATCHES_A_FETCH = 8
"""So many batches of one partition are handed over by the reader's thread at once: each time costs both threads a wait
for the interpreter's lock."""
_Letter = tuple[int, bytes | None, Any, str, Exception | None]
"""Offset, key, value, reason, error."""


class KafkaSpout(Hosted, streamparse.Spout):
    """Reads topics whose values are all of one schema: JSON, msgpack, text, bytes, or what a method `decode` reads.

    Key, headers, timestamp and origin of a record are fields of the schema that say so (`FromKafka`).
    """

    settings: ClassVar[dict[str, Any]] = {
        "topic": topics_setting,
        "schema": record_schema,
        "value": value_setting,
        "start": start_setting,
        "event_time": text,
        "out_of_order": duration_ms,
        "max_ahead": duration_ms,
        "idle_after": duration_ms,
        "max_batch": positive,
        "max_pending": positive,
        "max_pending_bytes": positive,
        "span": positive,
    }

    topic: Topics
    """The topic; several topics; or a pattern (`re.compile`), which stands for all that match it as a whole, at any
    time."""
    schema: type[Record]
    value: str = "json"
    """What the values are: "json", "msgpack", or "text" or "bytes", which fill the one field of the schema."""
    start: Start = EARLIEST
    """Where to start in a partition without a committed offset: "earliest", "latest", a time (datetime or ISO 8601), or
    offsets by partition (`{0: 1200}`, `{"orders/0": 1200}`); "committed": nowhere, stop."""
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
    """Records fetched and not yet acked, at most, for each task; half of them are shared out among its partitions."""
    max_pending_bytes: int = 128 << 20
    """Bytes of their values, in the same way."""
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
        self._task_index, self._task_count = tasks.index(context.task), len(tasks)
        idle_after = None if self.idle_after is None or conf.get("stormline.bounded") else duration_ms(self.idle_after)
        self._source = Source(
            context.component,
            context.task,
            secrets.token_hex(8),
            Limits(duration_ms(self.out_of_order), self.max_pending, self.span, idle_after, self.max_pending_bytes),
        )
        own = None if type(self).decode is KafkaSpout.decode else self.decode
        self._decoder = Decoder(self.schema, self.event_time, duration_ms(self.max_ahead), self.value, own)
        self._outputs = Outputs(host)
        self._dead = DeadLetters(host)
        self._store = host.edges.store(app=conf["stormline.app"], post=host.post)
        self._reader = host.edges.reader(
            topics=self.topic,
            group=conf["stormline.app"],
            task_index=self._task_index,
            task_count=self._task_count,
            max_batch=self.max_batch * BATCHES_A_FETCH,
            timestamps=self.event_time is None,
            start_ms=start_ms(self.start),
            on_event=self._on_event,
            post=host.post,
        )
        self._offsets = Offsets(
            host,
            self._store,
            self._source,
            commit=self._reader.commit,
            pass_over=self._pass_over,
            on_wait=self._on_wait,
        )
        self._bounded = bool(conf.get("stormline.bounded"))
        self._told = Told() if conf.get("stormline.tracked") else None
        self._topics: dict[str, dict[int, str]] = {}
        """Topic -> partition number -> its identity."""
        self._entered = self._active = False
        self._asking: set[str] = set()
        """Topics of a bounded input whose ends are asked for or known."""
        self._unpinned: set[str] = set()
        """Partitions whose start is not committed yet."""
        self._skips = Skips()
        self._next_progress_ms = self._next_ends_ms = host.now_ms()
        self._status = Status(chained=self._outputs.status.chained)
        self._trouble: str | None = None
        self._parts: dict[str, int] = {}
        self._emissions = 0

    def activate(self) -> None:
        self._active = True
        self._fetch_on()

    def deactivate(self) -> None:
        """Emit nothing more; what is acked is committed now, and what is on its way when it is."""
        self._active = False
        self._reader.want(frozenset())
        self._offsets.commit(soon=True)
        self._set_due()

    def next_tuple(self) -> bool:
        if not self._active or self._offsets.halted:
            return False
        if self._source.careful or self._offsets.is_trying:
            self._offsets.try_next(active=True)
        emission = self._source.next(self.host.now_ms())
        if emission is None:
            if self._source.is_waiting:
                self._set_due()
            return False
        component = self.host.context.component
        tuples, broken = self._outputs.take("", emission.partition, emission.records, emission.attempt)
        if any(whose == component for whose, _ in broken):
            raise UserCodeError(f"{component}: a key function raised on a record it accepted before")
        self._emissions += 1
        whole = f"{self._emissions}/{emission.message_id}"
        # One more for this call: so a batch of which nothing is sent on is done with, too.
        self._parts[whole] = len(tuples) + len(broken) + 1
        for number, (stream, values) in enumerate(tuples):
            self.host.emit(values, stream=stream, message_id=f"{number}/{whole}")
        for whose, each in broken:
            self._dead.set_aside(whose, emission.partition, each, emission.attempt, partial(self._done, whole))
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
            if self._source.is_limited:
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
                check_committed(self.host.context.component, event)
                self._offsets.enter(event, partial(self._enter, event), by_pattern=not named(self.topic))
            case Fetched():
                self._take(event)
            case Committed():
                self._offsets.committed(dict(event.offsets))
                self._unpinned -= event.offsets.keys()
                self._fetch_on()
            case Trouble():
                if event.fatal:
                    raise ServerError(f"{self.host.context.component}: {event.message}")
                self._trouble = event.message
                self._offsets.not_committed()

    def _enter(self, assigned: Assigned, entered: Entered) -> None:
        """The partitions, those of the beginning or new ones, may be read."""
        found = positions(self.host.context.component, self.start, assigned, entered)
        now_ms = self.host.now_ms()
        self._source.partition_count = assigned.partition_count
        self._asking -= {each.topic for each in assigned.standings}  # new partitions have an end, too
        for each in assigned.standings:
            at = found[each.partition]
            self._source.assign(each.partition, at, each.log_end, now_ms, entered.starts.get(each.partition, 0))
            self._topics.setdefault(each.topic, {})[each.number] = each.partition
            self._skips.assign(each.topic, each.number, each.partition)
        if self.start != EARLIEST:
            # Another start would find another place: nothing is read before this one is committed.
            self._unpinned |= {partition for partition in found if not self._offsets.is_pinned(partition)}
        if not self._entered and self._task_index == 0 and assigned.partition_count < self._task_count:
            self.host.log(
                logging.WARNING,
                f"{self._task_count} tasks, but {shown(self.topic)} has {assigned.partition_count} partitions: "
                f"{self._task_count - assigned.partition_count} tasks have nothing to read",
            )
        self._entered = True
        self._reader.start(found)
        self._fetch_on()
        self._set_due()

    def _take(self, fetched: Fetched) -> None:
        """What was fetched in one go, in batches of `max_batch`."""
        for first in range(0, max(len(fetched.offsets), 1), self.max_batch):
            self._take_batch(fetched.piece(first, first + self.max_batch))
        self._fetch_on()

    def _take_batch(self, fetched: Fetched) -> None:
        now_ms = self.host.now_ms()
        fetched, passed_over = self._skips.without(fetched)
        size = sum(map(len, filter(None, fetched.values)))
        rows, bad = self._decoder.rows(fetched, now_ms)
        kept = self._outputs.keep(rows) if self._outputs.splits else None
        component = self.host.context.component
        letters: list[_Letter] = [(u.offset, u.key, u.value, f"{component}: {u.reason}", u.error) for u in bad]
        if kept is not None:
            rows = kept.rows
            for b in kept.broken:
                letters.append((b.offset, None, b.value, broken_reason(component, b.value, b.error), b.error))
        letters += [(offset, key, value, f"{component}: {SKIPPED}", None) for offset, key, value in passed_over]
        offsets = [letter[0] for letter in letters]
        position, end = fetched.next_offset, fetched.log_end
        numbers = self._source.take(fetched.partition, rows, offsets, position, end, now_ms, size)
        for number, (offset, key, value, reason, error) in zip(numbers, letters, strict=True):
            self._bury(Origin(fetched.partition, offset), number, key, value, reason, error)

    def _bury(
        self,
        origin: Origin,
        number: int,
        key: bytes | None,
        value: Any,
        reason: str,
        error: Exception | None,
        attempts: int = 1,
    ) -> None:
        """Send a record to the dead letters; its offset, `number`, is passed once it is there."""
        self._status.broken += 1
        settled = partial(self._source.settle, origin.partition, number)
        self._dead.send(origin, key=key, value=value, reason=reason, error=error, attempts=attempts, settled=settled)

    def _pass_over(self, records: frozenset[str]) -> None:
        """An operator wants these records (`topic/partition/offset`) to be skipped: they become dead letters."""
        for origin in self._skips.update(records):
            skipped = self._source.skip(origin.partition, origin.offset, self.host.now_ms())
            if skipped is not None:
                reason = f"{self.host.context.component}: {SKIPPED}"
                self._bury(origin, skipped.number, None, skipped.value, reason, None, skipped.attempts)
        self._fetch_on()

    def _fetch_on(self) -> None:
        if self._active and self._entered and not (self._offsets.halted or self._unpinned):
            self._reader.want(self._source.wanted())

    # time

    def on_time(self, now_ms: int) -> None:
        self._dead.on_time(now_ms)
        self._offsets.on_time(now_ms)
        if self._entered and not self._offsets.halted:
            if now_ms >= self._next_progress_ms:
                self._next_progress_ms = now_ms + PROGRESS_EVERY_MS
                self._tell(now_ms)
            if self._bounded and now_ms >= self._next_ends_ms:
                self._next_ends_ms = now_ms + PROGRESS_EVERY_MS
                self._ask_ends()
            self._offsets.commit()
        self._offsets.try_next(active=self._active)
        self._set_due()

    def _tell(self, now_ms: int) -> None:
        """Progress for all keyed bolts; tracked only where something is anchored to it."""
        progress = self._source.progress(now_ms)
        if self._told is None:
            self.host.emit((progress,), stream=PROGRESS)
            return
        progress = self._told.stamp(progress)
        self.host.emit((progress,), stream=PROGRESS, message_id=f"{PROGRESS}/{progress.sequence}")

    def _ask_ends(self) -> None:
        """Where the bounded input ends, of the topics of which that is not known yet."""
        topics = [topic for topic in self._topics if topic not in self._asking]
        if topics:
            self._asking.update(topics)
            self._store.submit([Ends(topic) for topic in topics], partial(self._on_ends, topics))

    def _on_ends(self, topics: list[str], replies: list[Reply]) -> None:
        for topic, reply in zip(topics, replies, strict=True):
            if isinstance(reply, Ended) and reply.offsets is not None:
                ends = reply.offsets
                self._source.bound({name: ends.get(number, 0) for number, name in self._topics[topic].items()})
            else:
                self._asking.discard(topic)

    def _on_wait(self) -> None:
        if self._offsets.halted:
            self._trouble = f"halted: {self._offsets.halted}"
            self._reader.want(frozenset())
        self._set_due()

    def _set_due(self) -> None:
        dues = [self._dead.due_ms, self._offsets.due_ms]
        if self._entered and not self._offsets.halted:
            dues.append(self._next_progress_ms)
            if self._active:  # what waits is emitted by `next_tuple`, which an inactive spout is not asked for
                dues.append(self._source.due_ms)
        self.due_ms = min((due for due in dues if due is not None), default=None)

    @property
    def _settled(self) -> bool:
        ended = self._source.ended or (self._entered and not self._source.partitions)
        return ended and self._offsets.settled

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
        self._offsets.close()
        self._reader.close()
        self._dead.close()
