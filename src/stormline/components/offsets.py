"""The offsets of a spout task on their way: known to Redis first, then committed to Kafka (S5); and the halt that comes
when the two contradict each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from stormline.components.edges import Store
from stormline.components.host import Host
from stormline.core.errors import Died
from stormline.core.events import Assigned
from stormline.core.requests import Applied, Enter, Entered, Mark, Refused, Reply, Report, Skipping, Skips, Tried, Try
from stormline.core.source import Source

COMMIT_EVERY_MS = 1000
COMMIT_AFTER_MS = 100
"""A task that has caught up, with all of it acked, commits so soon after the last time."""
RETRY_AFTER_MS = 500
TRY_AGAIN_MS = 50
"""After records of another task were found to be out carefully."""
LOOK_AGAIN_MS = 5_000
"""Whether a halt is over."""
FORGOTTEN = (
    "Kafka has no committed offset, or has forgotten it (offsets.retention.minutes), where Redis knows how far this "
    "app has come; going on from there"
)


class Offsets:
    """Of one task. `commit` sends offsets to Kafka, which answers by `committed`; `pass_over` gets the records that an
    operator wants to be skipped; `on_wait` is called when `due_ms` has changed, as for a halt."""

    def __init__(
        self,
        host: Host,
        store: Store,
        source: Source,
        *,
        commit: Callable[[dict[str, int]], None],
        pass_over: Callable[[frozenset[str]], None],
        on_wait: Callable[[], None],
    ) -> None:
        self._host, self._store, self._source = host, store, source
        self._commit, self._pass_over, self._on_wait = commit, pass_over, on_wait
        self._known: dict[str, int] = {}
        """Partition -> what Redis knows."""
        self._committed: dict[str, int] = {}
        """Partition -> what Kafka knows."""
        self._committing: dict[str, int] | None = None
        self._starts: dict[str, int] = {}
        self._passed: frozenset[str] = frozenset()
        """The records that an operator wants to be passed over, as far as they are known here."""
        self._failed = 0
        self._asking_to_try = False
        self._try_again_ms: int | None = None
        self.is_trying = False
        """Whether the store may hold that records of this task are out carefully."""
        self._next_commit_ms = host.now_ms()
        self._retries: list[tuple[int, Callable[[], None]]] = []
        self.halted: str | None = None

    def enter(self, assigned: Assigned, then: Callable[[Entered], None], *, by_pattern: bool) -> None:
        """Check what Kafka has committed against what Redis knows, before the first record (S1); then call `then` with
        the reply. `by_pattern`: the topics are those that a pattern matches, at any time."""
        committed = {s.partition: s.committed for s in assigned.standings if s.committed is not None}
        request = Enter(
            self._host.context.component,
            assigned.partition_count,
            committed,
            tuple(s.partition for s in assigned.standings),
            tuple(s.partition for s in assigned.standings if s.log_end > (s.committed or 0)),
            dict(assigned.counts),
            by_pattern,
        )
        again = partial(self.enter, assigned, then, by_pattern=by_pattern)
        self._store.submit([request], partial(self._on_entered, committed, then, again))

    def _on_entered(
        self,
        committed: dict[str, int],
        then: Callable[[Entered], None],
        again: Callable[[], None],
        replies: Sequence[Reply],
    ) -> None:
        (reply,) = replies
        if isinstance(reply, Entered):
            self._committed.update(committed)
            self._known |= committed | reply.known
            self._starts.update(reply.starts)
            if reply.known:
                places = ", ".join(f"{partition} at {offset}" for partition, offset in reply.known.items())
                self._host.log(logging.WARNING, f"{FORGOTTEN}: {places}")
            then(reply)
            self._passed = reply.skips
            self._pass_over(reply.skips)
        elif isinstance(reply, Refused):
            self._halt(reply.why)
        else:
            self._wait(RETRY_AFTER_MS, again)

    def commit(self, *, soon: bool = False) -> None:
        """Commit what may be, not more often than is good, or `soon`: Redis first, then Kafka, so that Kafka never
        knows more than Redis, unless Redis has lost data.

        After failures Redis is asked though there is nothing to write: the app may be halted, and an operator may want
        to pass a record over.
        """
        now_ms, source = self._host.now_ms(), self._source
        due = now_ms >= (self._next_commit_ms if self._early_ms is None else self._early_ms)
        if self.halted or not (soon or due or (source.ended and not self.settled)):
            return
        self._next_commit_ms = now_ms + COMMIT_EVERY_MS
        frontiers = self._uncommitted()
        if self._committing is not None or not (frontiers or source.failed > self._failed):
            return
        self._failed = source.failed
        self._committing = frontiers
        well = tuple(p for p in frontiers if p in self._starts and p not in source.careful)
        mark = Mark(frontiers or dict(self._known), dict(self._known), well)
        self._store.submit([mark, Report(source.report(now_ms)), Skips()], partial(self._on_marked, well))

    @property
    def _early_ms(self) -> int | None:
        """When to commit where all is acked, or care is taken: there is nothing to collect for the next second."""
        early = self._source.caught_up or self._source.careful
        return self._next_commit_ms - COMMIT_EVERY_MS + COMMIT_AFTER_MS if early else None

    def _uncommitted(self) -> dict[str, int]:
        return {p: o for p, o in self._source.frontiers().items() if o > self._committed.get(p, -1)}

    def _on_marked(self, well: tuple[str, ...], replies: Sequence[Reply]) -> None:
        reply, _, skips = replies
        frontiers = self._committing
        if isinstance(reply, Refused):
            self._halt(reply.why)
            return
        if isinstance(skips, Skipping) and skips.records - self._passed:
            self._passed = skips.records
            self._source.care.end()  # an operator knows the cause, and it is out of the way
            self._pass_over(skips.records)
        if not isinstance(reply, Applied) or not frontiers:
            self._committing = None
            return
        self._known.update(frontiers)
        for partition in well:
            self._starts.pop(partition, None)
        self._commit(frontiers)

    def committed(self, offsets: dict[str, int]) -> None:
        """Kafka has them."""
        self._committed.update(offsets)
        self._committing = None

    def not_committed(self) -> None:
        """Kafka is in trouble: what is not answered is sent again."""
        self._committing = None

    def is_pinned(self, partition: str) -> bool:
        """Whether Redis has an offset of this partition: another start begins there, or further on."""
        return partition in self._known

    @property
    def settled(self) -> bool:
        """All there is to commit is committed."""
        return all(self._committed.get(p, 0) >= o for p, o in self._source.frontiers().items())

    def try_next(self, *, active: bool) -> None:
        """Let the store know which records are emitted carefully next, if any; then they may go. Not `active`: nothing
        may, and the store hears of it once nothing is out."""
        active = active and not self.halted
        if not active:
            self._source.withdraw()
        wanted = self._source.to_try if active else None
        if self._asking_to_try or self._try_again_ms is not None:
            return
        if wanted is None and (self._source.care.is_busy or not self.is_trying):
            return
        self._asking_to_try = self.is_trying = True
        owner = self._source.incarnation
        request = Try(owner) if wanted is None else Try(owner, *wanted)
        self._store.submit([request], partial(self._on_tried, wanted))

    def _on_tried(self, wanted: tuple[str, int, int] | None, replies: Sequence[Reply]) -> None:
        (reply,) = replies
        self._asking_to_try = False
        if isinstance(reply, Tried):
            self.is_trying = reply.granted and wanted is not None
        if not isinstance(reply, Tried) or not reply.granted:
            self._try_again_ms = self._host.now_ms() + TRY_AGAIN_MS
            self._on_wait()
        elif wanted is not None:
            self._source.tried(*wanted)

    def close(self) -> None:
        """The orderly end: what is still out is not to blame for it."""
        if self.is_trying:
            self._store.submit([Try(self._source.incarnation)], lambda _: None)

    # time

    def on_time(self, now_ms: int) -> None:
        """Ask again what was not answered, and whether a halt is over."""
        due = [what for at_ms, what in self._retries if at_ms <= now_ms]
        self._retries = [each for each in self._retries if each[0] > now_ms]
        for what in due:
            what()
        if self._try_again_ms is not None and self._try_again_ms <= now_ms:
            self._try_again_ms = None

    @property
    def due_ms(self) -> int | None:
        dues = [at_ms for at_ms, _ in self._retries]
        if self._try_again_ms is not None:
            dues.append(self._try_again_ms)
        early_ms = self._early_ms
        if not self.halted and early_ms is not None and self._uncommitted():
            dues.append(early_ms)
        return min(dues, default=None)

    def _halt(self, why: str) -> None:
        """Stay alive, emit nothing, say why, until an operator has looked (`sparse resume`)."""
        if not self.halted:
            self._host.report_error(f"halted: {why}")
        self.halted = why
        look = partial(self._store.submit, [Mark(dict(self._known), dict(self._known))], self._look_again)
        self._retries.clear()
        self._wait(LOOK_AGAIN_MS, look)

    def _wait(self, wait_ms: int, what: Callable[[], None]) -> None:
        self._retries.append((self._host.now_ms() + wait_ms, what))
        self._on_wait()

    def _look_again(self, replies: Sequence[Reply]) -> None:
        (reply,) = replies
        if isinstance(reply, Applied):
            self.close()
            raise Died(f"{self._host.context.component}: the halt is over, and this task begins anew")
        self._halt(reply.why if isinstance(reply, Refused) else self.halted or "")
