"""What hosts the rules of a keyed bolt: it loads its slots, counts, flushes and acks (K1 to K7).

A keyed bolt is a subclass that says what its rules are.
"""

from __future__ import annotations

import secrets
from collections import Counter
from functools import partial

import streamparse

from stormline.components.dead_letters import DeadLetters
from stormline.components.host import Host, Tuple
from stormline.components.hosted import Hosted
from stormline.components.keys import keys_of, slots_of_conf
from stormline.components.outputs import broken_reason, raised_where
from stormline.components.plain_tuples import NO_PARTITION, UNTOLD, PlainInput, SeenTimes, carries_batch
from stormline.components.wiring import PROGRESS, resolve
from stormline.core.batch import Batch
from stormline.core.duration import duration_ms
from stormline.core.errors import Fenced, StateError
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.progress import Progress, ProgressView
from stormline.core.record import Origin
from stormline.core.requests import Counted, Counts, Flush, Gone, Load, Loaded, Refused, Reply
from stormline.core.slot import Key, owned_slots
from stormline.core.status import Status
from stormline.core.table import Rules

FLUSH_AFTER_PAUSE_MS = 20
FLUSH_EVERY_MS = 500
FLUSH_AT_RECORDS = 40_000
"""Over all tasks of the bolt: well below what a spout lets wait for its ack, else it would stand still until the pause
is noticed. Each flush writes a busy key anew, so that few records a flush cost more rows."""
RETRY_AFTER_MS = 500
LOOK_AGAIN_MS = 5_000
"""Whether a halt is over."""
CLOCK_EVERY_MS = 200
"""How exact wall time is, where windows or triggers go by it."""


class KeyedBolt(Hosted, streamparse.Bolt):
    """A bolt that keeps something by key, and counts every record exactly once in it."""

    key: Key
    none_is_key: bool = False
    event_time: str | None = None
    out_of_order: str = "0s"

    def rules(self, host: Host) -> Rules:
        """What this bolt does with a record."""
        raise NotImplementedError

    def prepare(self, host: Host) -> None:
        self.host = host
        context, conf = host.context, host.context.conf
        tasks = list(context.tasks_by_component[context.component])
        self._rules = self.rules(host)._replace(slots=slots_of_conf(conf))
        self._spouts = [component for component, stream in context.sources if stream == PROGRESS]
        if self._rules.streams and self._spouts and not conf.get("stormline.tracked"):
            raise StateError(
                f"{context.component}: somebody reads its stream {min(self._rules.streams)}, but the spouts were not "
                "told to say what has arrived; start the topology with sparse run or sparse submit"
            )
        self._by_clock = self._rules.by_clock
        self._next_clock_ms = host.now_ms()
        self._owner = secrets.token_hex(8)
        self._run_number = int(conf["stormline.run"])
        self._slots = owned_slots(tasks.index(context.task), len(tasks), self._rules.slots)
        self._flush_at = FLUSH_AT_RECORDS // len(tasks)
        self._plain = PlainInput(host, resolve(conf["stormline.schema"]), self.event_time)
        self._keys_of = keys_of(type(self))
        self._untold: int = conf.get("stormline.untold", 0)
        self._seen = SeenTimes(duration_ms(self.out_of_order))
        self._store = host.edges.store(app=conf["stormline.app"], post=host.post)
        self._dead = DeadLetters(host)
        self._state: KeyedState | None = None
        self._early: list[Tuple] = []
        self._status = Status(open_windows=0)
        self._earlier: Counter[str] = Counter()
        self._trouble: str | None = None
        self._halted = False
        self._dirty_since_ms: int | None = None
        self._input_ms = 0
        self._more = False
        """The last flush did not hold all that was to be flushed."""
        self._retry_ms: int | None = None
        self._load(again=False)

    # loading

    def _load(self, *, again: bool) -> None:
        self._state = None
        self._retry_ms = None
        component = self.host.context.component
        loads = [Load(component, slot, self._owner, self._run_number, again) for slot in self._slots]
        self._store.submit([Counts(), *loads], partial(self._on_loaded, again))

    def _on_loaded(self, again: bool, replies: list[Reply]) -> None:
        refused = next((reply for reply in replies if isinstance(reply, Refused)), None)
        if refused is not None:
            self._refused(refused)
            return
        counts, *slots = replies
        if not isinstance(counts, Counted) or not all(isinstance(slot, Loaded) for slot in slots):
            self._trouble = next(
                str(getattr(reply, "why", reply)) for reply in replies if not isinstance(reply, Loaded)
            )
            self._retry_ms = self.host.now_ms() + RETRY_AFTER_MS
            self._again = again
            self._set_due()
            return
        expected = {spout: counts.partition_counts.get(spout, 0) for spout in self._spouts}
        if self._untold:
            expected[UNTOLD] = self._untold
        view = ProgressView(expected)
        state = KeyedState(self._rules, self._owner, view)
        for slot in slots:
            if isinstance(slot, Loaded):
                state.load(slot)
        self._trouble = None
        self._halted = False
        self._state = state
        early, self._early = self._early, []
        for tup in early:
            self.execute(tup)

    def _refused(self, refused: Refused) -> None:
        component = self.host.context.component
        if refused.halted:
            self._halt(refused.why)
        elif refused.outdated:
            raise StateError(f"{component}: {refused.why}; this one has to stop")
        else:
            raise Fenced(f"{component}: {refused.why}")

    def _halt(self, why: str) -> None:
        """Stay alive and count nothing until an operator has looked (`sparse resume`); then load again.

        What waits and what comes fails, so that a spout hears of it, and no tuple stays with Storm for ever.
        """
        if not self._halted:
            self.host.report_error(f"halted: {why}")
        self._halted = True
        self._trouble = f"halted: {why}"
        early, self._early = self._early, []
        for tup in early:
            self._turn_away(tup)
        if self._state is not None:
            self._let_go(self._state)
        self._again = False
        self._retry_ms = self.host.now_ms() + LOOK_AGAIN_MS
        self._set_due()

    def _turn_away(self, tup: Tuple) -> None:
        (self.host.ack if tup.stream == PROGRESS else self.host.fail)(tup)

    # tuples

    def execute(self, tup: Tuple) -> None:
        state = self._state
        if self._halted:
            self._turn_away(tup)
        elif state is None:
            self._early.append(tup)
        elif tup.stream == PROGRESS:
            progress: Progress = tup.values[0]
            state.observe(progress)
            self._send(state, progress, (tup,))
            self.host.ack(tup)
            self._plan()
        else:
            self._count(state, tup)

    def _count(self, state: KeyedState, tup: Tuple) -> None:
        try:
            batch = Batch(*tup.values) if carries_batch(tup) else self._keyed(self._plain.batch(tup))
        except Exception as error:  # no record of the schema, or the user's key function raised
            self._status.broken += 1
            self._dead.unreadable(tup, error)
            return
        if self._rules.processing_time:
            state.on_clock(self.host.now_ms())
            batch = self._arrived_now(state, batch)
        held = Held(tup)
        broken = state.apply(batch, held)
        self._status.records_in += len(batch.records.offsets)
        self._status.broken += len(broken)
        self._input_ms = self.host.now_ms()
        for b in broken:
            self._dead.send(
                Origin(batch.partition, b.offset),
                key=None,
                value=b.value,
                reason=broken_reason(self.host.context.component, b.value, b.error),
                error=b.error,
                attempts=batch.attempt,
                settled=partial(self._release, held),
            )
        if batch.partition == NO_PARTITION:
            progress = self._seen.saw(tup, batch.records.times_ms)
            if progress is not None:
                state.observe(progress)
        if held.waits == 0:
            self.host.ack(tup)
        self._plan()

    def _send(self, state: KeyedState, progress: Progress | None, anchors: tuple[Tuple, ...]) -> None:
        """Send on what is durable (K7)."""
        for stream, values in state.send(progress):
            self.host.emit(values, stream=stream, anchors=anchors)

    def _arrived_now(self, state: KeyedState, batch: Batch) -> Batch:
        """Its time is that of the clock; where that was set back, of the latest watermark."""
        now_ms = max(self.host.now_ms(), state.latest_ms)
        return batch._replace(records=batch.records._replace(times_ms=[now_ms] * len(batch.records.offsets)))

    def _keyed(self, batch: Batch) -> Batch:
        return batch._replace(records=batch.records._replace(keys=self._keys_of(batch.records.values)))

    def _release(self, held: Held) -> None:
        if held.release():
            self.host.ack(held.tup)

    # flushing

    def _plan(self) -> None:
        """Flush when input pauses, at the latest after a while, or when much has come together."""
        state = self._state
        if state is not None and state.dirty:
            if self._dirty_since_ms is None:
                self._dirty_since_ms = self.host.now_ms()
            if state.unflushed >= self._flush_at:
                self._flush()
        self._set_due()

    def _set_due(self) -> None:
        dues = [self._dead.due_ms, self._retry_ms, self._next_clock_ms if self._by_clock else None]
        state = self._state
        if self._dirty_since_ms is not None and self._retry_ms is None and state is not None and not state.flying:
            dues.append(min(self._input_ms + FLUSH_AFTER_PAUSE_MS, self._dirty_since_ms + FLUSH_EVERY_MS))
        self.due_ms = min((due for due in dues if due is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        self._dead.on_time(now_ms)
        if self._retry_ms is not None and now_ms >= self._retry_ms:
            self._retry_ms = None
            if self._state is None:
                self._load(again=self._again)
        if self._by_clock and now_ms >= self._next_clock_ms:
            self._next_clock_ms = now_ms + CLOCK_EVERY_MS
            if self._state is not None:
                self._state.on_clock(now_ms)
                self._plan()
        if self._dirty_since_ms is not None and self._retry_ms is None:
            pause_over = now_ms >= self._input_ms + FLUSH_AFTER_PAUSE_MS
            if pause_over or now_ms >= self._dirty_since_ms + FLUSH_EVERY_MS:
                self._flush()
        self._set_due()

    def _flush(self) -> None:
        state = self._state
        if state is None or state.flying or self._retry_ms is not None:
            return
        flushes = state.flush(self.host.now_ms())
        self._more = state.dirty
        self._dirty_since_ms = None
        self._report(state)
        if flushes:
            self._store.submit(flushes, partial(self._on_flushed, state, flushes))

    def _report(self, state: KeyedState) -> None:
        """What user code raised where no record is to blame: it goes to the dead letters, what is counted stays."""
        faults, state.faults = state.faults, []
        component = self.host.context.component
        for fault in faults:
            self._status.broken += 1
            self._dead.send(
                Origin(NO_PARTITION, 0),
                key=fault.key.encode(),
                value=None,
                reason=f"{raised_where(component, fault.error)}; it was {fault.what}, key {fault.key}",
                error=fault.error,
                attempts=1,
                settled=lambda: None,
            )

    def _on_flushed(self, state: KeyedState, flushes: list[Flush], replies: list[Reply]) -> None:
        if state is not self._state:
            return
        if any(isinstance(reply, Gone) for reply in replies):
            self._reload(state)
            return
        refused = next((reply for reply in replies if isinstance(reply, Refused)), None)
        if refused is not None:
            self._refused(refused)
            return
        self._trouble = None
        for flush, reply in zip(flushes, replies, strict=True):
            for tup in state.flushed(flush.slot, reply):
                self.host.ack(tup)
            why = getattr(reply, "why", None)
            if why is not None:
                self._trouble = f"Redis did not confirm a flush: {why}; trying again, nothing is acked"
                self._retry_ms = self.host.now_ms() + RETRY_AFTER_MS
        if not self._spouts:
            self._send(state, None, ())
        if self._more:
            self._flush()
        self._plan()

    def _reload(self, state: KeyedState) -> None:
        """Redis was restarted: what it holds is the truth. What it did not confirm is emitted again by the spout."""
        self._let_go(state)
        self._load(again=True)

    def _let_go(self, state: KeyedState) -> None:
        for held in {id(held): held for held in state.held()}.values():
            held.waits = 0  # whatever else it waits for, it is not acked any more
            self.host.fail(held.tup)
        self._state = None
        self._dirty_since_ms = None
        self._earlier += Counter(counted=state.counted, skipped=state.skipped, late=state.late)

    def status(self) -> Status:
        status, state = self._status, self._state
        status.trouble = self._trouble or self._dead.trouble
        if state is None:
            status.settled = False
            return status
        status.records_out = self._earlier["counted"] + state.counted
        status.replayed = self._earlier["skipped"] + state.skipped
        status.late = self._earlier["late"] + state.late
        status.open_windows = state.open_windows
        status.watermark_ms = state.watermark_ms
        busy = state.dirty or state.flying or state.open_windows or state.unsent
        status.settled = not (busy or self._dead.waiting)
        return status

    def close(self) -> None:
        self._dead.close()
        self._store.close()
