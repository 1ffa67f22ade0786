"""Local Storm in one process and one thread: deterministic, steppable, open to a debugger.

What is due is done one thing at a time, in turn: a posted call, the timers, or the flow. In the flow, tuples and
completions come before new output of the spouts, so that few are in flight; spouts take turns. With a seed, the order
is drawn at random wherever Storm promises none, the same way each time. Time comes from the clock that was given.

Not as on a cluster: acker messages take no time, nothing is serialized, a dead task is made anew at once, and the
tuples it held fail at once instead of timing out.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from queue import Empty
from random import Random
from typing import Any, cast

from stormline.components.edges import Edges
from stormline.components.host import Context, Host
from stormline.core.errors import Fenced, StormlineError, UserCodeError
from stormline.core.status import Status
from stormline.engine.clock import Clock
from stormline.engine.deployment import Deployment
from stormline.engine.hosts import BoltHost, Bus, Received, SpoutHost, TaskHost, log
from stormline.engine.mail import Drawn, InOrder
from stormline.engine.routes import routes_of
from stormline.engine.tasks import ACKER, SYSTEM, SYSTEM_TASK
from stormline.engine.topology import TopologySpec, read_topology

SPOUT_FIRST = 0.125
"""With a seed: the share of steps in which a spout may emit although tuples are on their way."""

TICKER = Context("", SYSTEM, SYSTEM_TASK, {}, {}, (), {})


class InlineEngine:
    """Runs a topology: `start`, then `step` or `run`, then `close`; all from one thread, but for `post`.

    An exception out of a component stops the engine for good: it is raised from `step` or `run` as a `StormlineError`
    that names component and task. `Fenced` only costs the task its place: it is made anew.
    """

    def __init__(
        self,
        topology: Any,
        *,
        name: str,
        conf: Mapping[str, Any],
        edges: Edges,
        clock: Clock,
        seed: int | None = None,
        environment: str | None = None,
    ) -> None:
        """`topology` is a streamparse `Topology` class, whose parallelism hints may depend on `environment`, or a
        `TopologySpec`. `conf` wins over the topology's own configuration, a component's own wins over both."""
        spec = topology if isinstance(topology, TopologySpec) else read_topology(topology, environment=environment)
        self.deployment = Deployment(spec, name=name, conf=conf)
        self._edges = edges
        self._clock = clock
        self._random = Random(f"ids and shuffles {seed}")
        self._order = None if seed is None else Random(f"order {seed}")
        self._bus = Bus(
            clock,
            InOrder() if self._order is None else Drawn(self._order),
            self._random,
            acker_task=self.deployment.tasks[ACKER][0],
        )
        self._hosts: dict[int, TaskHost] = {}
        self._vacant: deque[int] = deque()
        """Tasks that died and are to be made anew."""
        self._spouts = deque(task for task, component in self.deployment.hosted.items() if component.is_spout)
        # Each comes first in its turn, so that none of them can starve another.
        posted, timers, flow = self._run_posted, self._fire_timers, self._flow
        self._turns = ((flow, posted, timers), (posted, flow, timers), (timers, flow, posted))
        self._turn = 0
        self._state = "not started"
        self._active = False
        self._tick_at: dict[int, int] = {}
        self._time_out_at: int | None = None
        self._earliest_ms: float = 0
        """No timer is due before this."""

    def start(self) -> None:
        """Make and prepare all tasks in the order of their ids, then activate the spouts."""
        for component, keys in self.deployment.ignored.items():
            log.warning("%s: Storm ignores %s in the configuration of one component", component, ", ".join(keys))
        self._state = "running"
        if self.deployment.timeout_ms is not None:
            self._time_out_at = self._clock.now_ms() + self.deployment.timeout_ms
        for task in self.deployment.hosted:
            self._make(task)
        self._active = True
        for task in tuple(self._spouts):
            self._activate(task)

    def step(self) -> bool:
        """Do one thing: a delivery, a round of `next_tuple`, a completion, a posted call, or the timers that are due.

        False if nothing could be done now: then only a post, or the time that `due_ms` names, changes anything.
        """
        if self._state != "running":
            raise StormlineError(f"the engine of topology {self.deployment.name} is {self._state}")
        self._turn = (self._turn + 1) % len(self._turns)
        first, second, third = self._turns[self._turn]
        return first() or second() or third()

    def run(self, until: Callable[[], bool], *, deadline_ms: int | None = None) -> bool:
        """Step until `until()`, asked before each step; False if the clock reached `deadline_ms` first.

        With nothing to do it rests, in real time, until a post wakes it or the next timer is due.
        """
        while not until():
            if deadline_ms is not None and self._clock.now_ms() >= deadline_ms:
                return False
            if not self.step():
                self._rest(deadline_ms)
        return True

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` between two steps, soon. For other threads and signal handlers."""
        self._bus.inbox.put((None, call))

    def due_ms(self) -> int | None:
        """When the next timer is due (a component's, a tick, a message timeout); None if none is set."""
        return min((at for at, _ in self._timers()), default=None)

    def status(self) -> dict[str, list[Status]]:
        """What each task says of itself, by component, in the order of task ids."""
        tasks = self.deployment.tasks
        return {component: [self._status(task) for task in tasks[component]] for component in self.deployment.specs}

    def settled(self) -> bool:
        """Nothing is on its way, and every component says that it has nothing left to do."""
        return (
            self._bus.inbox.empty()
            and not self._bus.mail
            and all(self._status(task).settled for task in self.deployment.hosted)
        )

    def deactivate(self) -> None:
        """The spouts emit no more; what is on its way goes on, acks and fails still reach the spouts."""
        self._active = False
        for task in tuple(self._spouts):
            if task in self._hosts:
                self._call(self._spout(task), self._spout(task).component.deactivate)

    def close(self) -> None:
        """The orderly end: `close` of each component, spouts first. Nothing is called after a crash or an error."""
        if self._state != "running":
            return
        errors = []
        for host in sorted(self._hosts.values(), key=lambda host: isinstance(host, BoltHost)):
            try:
                self._call(host, host.component.close)
            except StormlineError as error:
                log.error("%s", error)
                errors.append(error)
            host.dead = True
        self._state = "closed"
        if errors:
            raise errors[0]

    def kill_task(self, task: int) -> None:
        """As if the task's process died: nothing is closed, what it held fails, a new one takes its place."""
        if task not in self._hosts:
            raise StormlineError(f"no task {task} is running; running are {sorted(self._hosts)}")
        self._drop(self._hosts[task])

    def crash(self) -> None:
        """As if the machine died: nothing is closed, nothing is told to anyone, the engine is of no more use."""
        self._state = "crashed"

    def _flow(self) -> bool:
        if self._vacant:
            task = self._vacant.popleft()
            self._make(task)
            self._activate(task)
            return True
        if self._order is not None and self._order.random() < SPOUT_FIRST:
            return self._ask_spouts() or self._deliver()
        return self._deliver() or self._ask_spouts()

    def _deliver(self) -> bool:
        entry = self._bus.mail.take()
        if entry is None:
            return False
        task, parcel = entry
        if isinstance(parcel, Received):
            bolt = cast(BoltHost, self._hosts[task])
            bolt.received[parcel.tuple.id] = parcel
            self._call(bolt, bolt.component.execute, parcel.tuple)
        else:
            spout = self._spout(task)
            self._call(spout, spout.component.ack if parcel.acked else spout.component.fail, parcel.message_id)
        return True

    def _ask_spouts(self) -> bool:
        """Each spout once, until one has emitted."""
        if not self._active:
            return False
        if self._order is not None:
            self._spouts.rotate(self._order.randrange(len(self._spouts)))
        for _ in range(len(self._spouts)):
            self._spouts.rotate(-1)
            host = self._spout(self._spouts[-1])
            if self._is_full(host):
                continue
            emitted = self._call(host, host.component.next_tuple)
            if emitted or self._bus.mail or self._vacant:
                return True
        return False

    def _is_full(self, spout: SpoutHost) -> bool:
        limit = self.deployment.most_pending.get(spout.context.task)
        return limit is not None and sum(len(self._bus.pending[task]) for task in limit[1]) >= limit[0]

    def _run_posted(self) -> bool:
        if self._bus.inbox.empty():
            return False
        self._run_call(*self._bus.inbox.get())
        return True

    def _run_call(self, host: TaskHost | None, call: Callable[[], None]) -> None:
        if host is None:
            call()
        elif not host.dead:
            self._call(host, call)

    def _rest(self, deadline_ms: int | None) -> None:
        ends = [at for at in (self.due_ms(), deadline_ms) if at is not None]
        seconds = max(0, min(ends) - self._clock.now_ms()) / 1000 if ends else None
        try:
            host, call = self._bus.inbox.get(timeout=seconds)
        except Empty:
            return
        self._run_call(host, call)

    def _fire_timers(self) -> bool:
        now_ms = self._clock.now_ms()
        if now_ms < self._earliest_ms:
            return False
        timers = list(self._timers())
        ready = [fire for at, fire in timers if at <= now_ms]
        if not ready:
            self._earliest_ms = min((at for at, _ in timers), default=float("inf"))
            return False
        if self._order is not None:
            self._order.shuffle(ready)
        for fire in ready:
            fire(now_ms)
        return True

    def _timers(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        if self._time_out_at is not None:
            yield self._time_out_at, self._time_out
        for task, at in self._tick_at.items():
            yield at, partial(self._tick, task)
        for host in self._hosts.values():
            if host.component.due_ms is not None:
                yield host.component.due_ms, partial(self._on_time, host)

    def _on_time(self, host: TaskHost, now_ms: int) -> None:
        if not host.dead:
            self._call(host, host.component.on_time, now_ms)

    def _tick(self, task: int, now_ms: int) -> None:
        """Ticks that were missed, as the clock jumped or a call took long, are not made up for."""
        if task not in self._tick_at:
            return
        every_ms = self.deployment.tick_ms[task]
        self._tick_at[task] += ((now_ms - self._tick_at[task]) // every_ms + 1) * every_ms
        self._bus.send(TICKER, "__tick", task, [every_ms // 1000], {})

    def _time_out(self, now_ms: int) -> None:
        assert self._time_out_at is not None
        assert self.deployment.timeout_ms is not None
        self._time_out_at += self.deployment.timeout_ms
        self._bus.time_out()

    def _make(self, task: int) -> None:
        spec = self.deployment.hosted[task]
        make_host = SpoutHost if spec.is_spout else BoltHost
        routes = routes_of(spec, task, self.deployment.topology, self.deployment.tasks, self._random)
        host: TaskHost = make_host(self.deployment.context(task), self._edges, self._bus, routes)
        self._hosts[task] = host

        def enter() -> None:
            host.component = spec.make()
            host.component.prepare(cast(Host, host))

        self._call(host, enter)
        if task in self.deployment.tick_ms:
            self._tick_at[task] = self._clock.now_ms() + self.deployment.tick_ms[task]
            self._earliest_ms = 0

    def _activate(self, task: int) -> None:
        host = self._hosts.get(task)
        if self._active and isinstance(host, SpoutHost):
            self._call(host, host.component.activate)

    def _drop(self, host: TaskHost) -> None:
        if host.dead:
            return
        host.dead = True
        task = host.context.task
        del self._hosts[task]
        self._tick_at.pop(task, None)
        self._vacant.append(task)
        self._bus.bury(host)

    def _call(self, host: TaskHost, call: Callable[..., Any], *args: Any) -> Any:
        """The one place where components are called. None if the task was fenced."""
        try:
            result = call(*args)
        except Fenced as error:
            log.warning("%s was fenced and is made anew: %s", host, error)
            self._drop(host)
            return None
        except StormlineError as error:
            error.add_note(f"in {host}")
            self._stop(host)
            raise
        except Exception as error:
            self._stop(host)
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise UserCodeError(
                f"{host}: {type(error).__name__}: {error} (raised at {frame.filename}:{frame.lineno})"
            ) from error
        due_ms = host.component.due_ms
        if due_ms is not None and due_ms < self._earliest_ms:
            self._earliest_ms = due_ms
        return result

    def _stop(self, host: TaskHost) -> None:
        self._state = f"stopped by an error in {host}"

    def _spout(self, task: int) -> SpoutHost:
        return cast(SpoutHost, self._hosts[task])

    def _status(self, task: int) -> Status:
        host = self._hosts.get(task)
        status = None if host is None else self._call(host, host.component.status)
        return status or Status(trouble="died; is made anew")
