"""A topology under way: feeds, the live view, how it ends, and what is told of it then."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stormline.cli import STARTED_S, summary
from stormline.cli.feeding import Feeding
from stormline.cli.rows import shown, window
from stormline.cli.screen import Screen, Statuses
from stormline.components.chaining import sources, told_apart
from stormline.components.wiring import PROGRESS
from stormline.connectors.results import Results
from stormline.core.errors import StateError

if TYPE_CHECKING:
    from redis import Redis

    from stormline.cli.hosting import Hosting
    from stormline.cli.servers import Servers
    from stormline.cli.stop import StopSignals
    from stormline.cli.topologies import Loaded
    from stormline.connectors.feed_settings import FeedSettings
    from stormline.engine.clock import Clock

LOOK_EVERY_MS = 100
CHECK_EVERY_S = 0.2
DRAIN_AT_MOST_MS = 8_000
DRAINED_AFTER_MS = 1_500
"""Spouts commit once a second: when their lag has not moved for longer than that, nothing more is being acked."""


class Running:
    """One run of an app; `run` once, then `summary`.

    Without `client` the topology keeps nothing in Redis: there is no feed, no result, and no end but a signal or the
    time that was given.
    """

    def __init__(
        self,
        loaded: Loaded,
        hosting: Hosting,
        clock: Clock,
        screen: Screen,
        servers: Servers,
        client: Redis | None,
        feeds: Sequence[FeedSettings],
        *,
        bounded: bool,
        stop: StopSignals,
        rate: float | None = None,
    ) -> None:
        self._loaded = loaded
        self._hosting = hosting
        self._clock = clock
        self._screen = screen
        self._servers = servers
        self._bounded = bounded
        self._stop = stop
        self._results = None if client is None else Results(client, loaded.app)
        self._feeding = (
            None
            if client is None
            else Feeding(feeds, client, brokers=servers.kafka, app=loaded.app, rate=rate, say=self._screen.say)
        )
        self._last: Statuses = {}
        self._troubles: dict[str, str] = {}
        self._first_result_s: float | None = None
        self._check_at = 0.0
        self.complete = False
        """A bounded run came to its end."""
        self.cut_short = False
        """A signal ended a bounded run before its end."""

    def run(self, until_s: float | None) -> None:
        """Until the bounded input is done, `until_s` (monotonic) has come, or a signal.

        Raises StateError if the app halts itself, and whatever a feed, a server or the user's code ends with.
        """
        self._stop.orderly = True
        hosting = self._hosting
        try:
            if self._feeding is not None:
                self._feeding.start()
            hosting.start()
            while not (self._stop.asked or self._complete() or (until_s is not None and time.monotonic() >= until_s)):
                hosting.run(lambda: self._stop.asked, deadline_ms=self._clock.now_ms() + LOOK_EVERY_MS)
                self._look()
            self.complete = self._complete()
            if not self.complete:
                self.cut_short = self._bounded and self._stop.asked
                self._screen.say(
                    "stopping: what is on its way is counted and committed first; Ctrl-C again stops at once"
                )
                self._drain()
            hosting.close()
        finally:
            self._stop.orderly = False
            if self._feeding is not None:
                self._feeding.stop()
            hosting.kill()
            self._screen.close()

    def _complete(self) -> bool:
        return self._bounded and self._feeding is not None and self._feeding.done and self._hosting.settled()

    def _look(self) -> None:
        """What is done ten times a second, between the steps of the engine."""
        now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + CHECK_EVERY_S
            for line in self._servers.check():
                self._screen.say(line)
        statuses = told_apart(self._hosting.status(), self._loaded.topology)
        self._last = {name: [copy.copy(task) for task in tasks] for name, tasks in statuses.items()}
        self._hosting.ask()
        self._tell_troubles()
        if self._first_result_s is None and self._results is not None:
            self._look_for_first_result(self._results)
        self._screen.show(self._last, now - STARTED_S)

    def _tell_troubles(self) -> None:
        """A line when a component begins to wait for the outside world, and one when it goes on."""
        now = {name: task.trouble for name, tasks in self._last.items() for task in tasks if task.trouble is not None}
        for name, trouble in now.items():
            if trouble.startswith("halted"):
                raise StateError(
                    f"{name} {trouble}\nLook into it first. Then `sparse run --fresh` computes everything again, or "
                    "`sparse resume` and `sparse run` go on with what is there."
                )
            if self._troubles.get(name) != trouble:
                self._screen.say(f"{name}: {trouble}")
        for name in self._troubles.keys() - now.keys():
            self._screen.say(f"{name}: goes on")
        self._troubles = now

    def _look_for_first_result(self, results: Results) -> None:
        """Show the first result that can be read back from Redis."""
        from redis import RedisError

        for name in self._last:
            if not any(task.records_out for task in self._last[name] if task.open_windows is not None):
                continue
            try:
                row = next(results.rows(name), None)
            except RedisError:
                return  # the component's own trouble is told
            if row is not None:
                self._first_result_s = time.monotonic() - STARTED_S
                key = "" if row.key is None else f", key {shown(row.key)}"
                values = ", ".join(f"{aggregate} {shown(value)}" for aggregate, value in row.values.items())
                self._screen.say(
                    f"first result in Redis after {self._first_result_s:.1f} s: {name} {window(row)}{key}: {values}"
                )
                return

    def _drain(self) -> None:
        """No new records; wait until what is on its way is acked and committed, if that comes about soon. Where nothing
        is committed, also for the tuples that nobody tracks: until every bolt is done with what it holds."""
        self._hosting.deactivate()
        give_up_ms = self._clock.now_ms() + DRAIN_AT_MOST_MS
        lags: list[int | None] = []
        quiet_since_ms = self._clock.now_ms()
        while (now_ms := self._clock.now_ms()) < min(give_up_ms, quiet_since_ms + DRAINED_AFTER_MS):
            self._hosting.run(lambda: False, deadline_ms=now_ms + LOOK_EVERY_MS)
            self._look()
            latest = [task.lag for tasks in self._last.values() for task in tasks]
            commits = any(lag is not None for lag in latest)
            settled = self._hosting.settled()
            if latest != lags or self._hosting.waited_for or not (commits or settled):
                lags, quiet_since_ms = latest, now_ms
            elif not commits:
                return

    def summary(self, command: str, which: str) -> list[str]:
        """The lines at the end. `command`: how this program is called; `which`: the options that mean this app."""
        total_s = time.monotonic() - STARTED_S
        if self._results is None or self._feeding is None:
            return ["", f"all in {total_s:.1f} s"]
        inputs = {
            name: sorted({component for component, stream in read if stream != PROGRESS})
            for name, read in sources(self._loaded.topology).items()
        }
        rows = sum(fed.rows for fed in self._feeding.fed)
        told = summary.accounts(self._last, inputs)
        if self.complete and not any(account.read for account in told):
            lines = ["", f"nothing new: all {rows:,} records of the feed were counted before (--fresh begins anew)"]
        else:
            lines = ["", *summary.told(told), *summary.counted(self._last)]
        if self._hosting.deaths:
            lines.append(
                f"{self._hosting.deaths} times a worker died and was started again: the lines above leave out what it "
                "had told of itself; the results hold everything. `sparse explain` knows what is in the way"
            )
        shown_ = summary.sections(self._results, self._loaded.sections, self._loaded.topology)
        first = "" if self._first_result_s is None else f"first result after {self._first_result_s:.1f} s, "
        lines += [*shown_.lines, "", f"{first}all in {total_s:.1f} s", "", "Try next:"]
        again = "run" if self.cut_short else "run --fresh"
        return lines + [f"  {command} {each}{which}" for each in [*shown_.commands, again]]
