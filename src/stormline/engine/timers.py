"""What a worker does as time passes: message time-outs, ticks, and the timers of components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random

from stormline.components.host import Context
from stormline.engine.bus import Bus
from stormline.engine.deployment import Deployment
from stormline.engine.hosts import TaskHost
from stormline.engine.tasks import SYSTEM, SYSTEM_TASK

TICKER = Context("", SYSTEM, SYSTEM_TASK, {}, {}, (), {})
NEVER = float("inf")


class Timers:
    """`on_time`: calls a host's component; `order`: with a seed, in which order timers of one moment fire."""

    def __init__(
        self,
        deployment: Deployment,
        bus: Bus,
        hosts: Mapping[int, TaskHost],
        on_time: Callable[[TaskHost, int], None],
        order: Random | None,
    ) -> None:
        self._deployment = deployment
        self._bus = bus
        self._hosts = hosts
        self._component_on_time = on_time
        self._order = order
        self._tick_at: dict[int, int] = {}
        self._time_out_at: int | None = None
        self.earliest_ms: float = 0
        """No timer is due before this; whoever calls a component lowers it to the component's `due_ms`."""

    def begin(self) -> None:
        """From now on tuples time out."""
        if self._deployment.timeout_ms is not None:
            self._time_out_at = self._bus.clock.now_ms() + self._deployment.timeout_ms

    def begin_ticks(self, task: int) -> None:
        """The task is prepared: its first tick comes after a full interval."""
        if task in self._deployment.tick_ms:
            self._tick_at[task] = self._bus.clock.now_ms() + self._deployment.tick_ms[task]
            self.earliest_ms = 0

    def end_ticks(self, task: int) -> None:
        self._tick_at.pop(task, None)

    def due_ms(self) -> int | None:
        """When the next one is due; None if none is set."""
        return min((at for at, _ in self._all()), default=None)

    def fire(self) -> bool:
        """All that are due; False if none is."""
        if self.earliest_ms == NEVER:
            return False
        now_ms = self._bus.clock.now_ms()
        if now_ms < self.earliest_ms:
            return False
        timers = list(self._all())
        ready = [fire for at, fire in timers if at <= now_ms]
        if not ready:
            self.earliest_ms = min((at for at, _ in timers), default=NEVER)
            return False
        if self._order is not None:
            self._order.shuffle(ready)
        for fire in ready:
            fire(now_ms)
        return True

    def _all(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        if self._time_out_at is not None:
            yield self._time_out_at, self._time_out
        for task, at in self._tick_at.items():
            yield at, partial(self._tick, task)
        for host in self._hosts.values():
            if host.component.due_ms is not None:
                yield host.component.due_ms, partial(self._component_on_time, host)

    def _tick(self, task: int, now_ms: int) -> None:
        """Ticks that were missed, as the clock jumped or a call took long, are not made up for."""
        if task not in self._tick_at:
            return
        every_ms = self._deployment.tick_ms[task]
        self._tick_at[task] += ((now_ms - self._tick_at[task]) // every_ms + 1) * every_ms
        self._bus.send(TICKER, "__tick", task, [every_ms // 1000], {})

    def _time_out(self, now_ms: int) -> None:
        assert self._time_out_at is not None
        assert self._deployment.timeout_ms is not None
        self._time_out_at += self._deployment.timeout_ms
        self._bus.time_out()
