"""A worker of the local Storm: tasks in one process and one thread, open to a debugger.

With all tasks of a topology in it nothing else is needed, and it is deterministic and steppable. With some of them it
is one of several workers, and what concerns the others goes over a transport.

What is due is done one thing at a time, in turn: posted calls and files, the timers, or the flow. In the flow, tuples
and completions come before new output of the spouts, so that few are in flight; spouts take turns. With a seed, the
order is drawn at random wherever Storm promises none, the same way each time. Time comes from the clock that was given.

Not as on a cluster: acker messages take no time inside a worker, nothing is serialized there, a dead task is made anew
at once, and the tuples it held fail at once instead of timing out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, cast

from stormline.components.edges import Edges
from stormline.components.host import Host, SpoutComponent
from stormline.core.errors import StormlineError
from stormline.core.status import Status
from stormline.engine.bus import Bus, Received
from stormline.engine.clock import Clock
from stormline.engine.deaths import Deaths
from stormline.engine.deployment import Deployment
from stormline.engine.hosts import BoltHost, SpoutHost, TaskHost
from stormline.engine.mail import Drawn, InOrder
from stormline.engine.messages import Message, Transport
from stormline.engine.reactor import Reactor
from stormline.engine.routes import routes_of
from stormline.engine.timers import Timers

log = logging.getLogger("stormline.engine")

SPOUT_FIRST = 0.125
"""With a seed: the share of steps in which a spout may emit although tuples are on their way."""
BURST = 16
"""Without a seed: things of the flow done between two looks at the clock, the posted calls and the files."""
MOST_MAIL = 10_000
"""Tuples on their way in this worker above which it counts as one that cannot keep up."""


class Worker:
    """Runs tasks: `start`, then `step` or `run`, then `close`; all from one thread, but for `post`.

    An exception out of a component stops the worker for good: it is raised from `step` or `run` as a `StormlineError`
    that names component and task. `Fenced` and `Died` only cost the task its place: it is made anew.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        edges: Edges,
        clock: Clock,
        seed: int | None = None,
        number: int = 0,
        transport: Transport | None = None,
    ) -> None:
        """`number`: which of the deployment's workers this is; `transport` leads to the others, if there are any."""
        self.deployment = deployment
        self._edges = edges
        self._clock = clock
        self._random = Random(f"ids and shuffles {number} {seed}")
        self._order = None if seed is None else Random(f"order {number} {seed}")
        self._transport = transport
        self._bus = Bus(
            clock,
            InOrder() if self._order is None else Drawn(self._order),
            self._random if seed is not None else Random(),
            tasks=deployment.tasks,
            place=deployment.place,
            here=number,
            transport=transport,
        )
        self._mail = self._bus.mail
        self._reactor = Reactor(self._run_call)
        self.watch, self.unwatch = self._reactor.watch, self._reactor.unwatch
        self.tasks = [task for task in deployment.hosted if task in self._bus.local]
        """The tasks of this worker, ackers not among them."""
        self._hosts: dict[int, TaskHost] = {}
        self._timers = Timers(deployment, self._bus, self._hosts, self._on_time, self._order)
        self._vacant: deque[int] = deque()
        """Tasks that died and are to be made anew."""
        self._deaths = Deaths()
        self._spouts = deque(task for task in self.tasks if deployment.hosted[task].is_spout)
        # Each comes first in its turn, so that none of them can starve another.
        posted, timers, flow = self._run_posted, self._timers.fire, self._flow
        self._turns = ((flow, posted, timers), (posted, flow, timers), (timers, flow, posted))
        self._turn = 0
        self._state = "not started"
        self._active = False

    def start(self, *, active: bool = True) -> None:
        """Make and prepare this worker's tasks in the order of their ids, then activate the spouts."""
        for component, keys in self.deployment.ignored.items():
            log.warning("%s: Storm ignores %s in the configuration of one component", component, ", ".join(keys))
        self._state = "running"
        self._timers.begin()
        for task in self.tasks:
            self._make(task)
        if active:
            self.activate()

    def step(self) -> bool:
        """Do one thing: a delivery, a round of `next_tuple`, a completion, a posted call, or the timers that are due.

        False if nothing could be done now: then only a post, a file, or the time that `due_ms` names, changes anything.
        """
        self._check_running()
        self._turn = (self._turn + 1) % len(self._turns)
        first, second, third = self._turns[self._turn]
        done = first() or second() or third()
        if self._transport is not None:
            self._transport.flush(behind=self.behind)
        return done

    def run(self, until: Callable[[], bool], *, deadline_ms: int | None = None) -> bool:
        """Go on until `until()`, asked every few steps; False if the clock reached `deadline_ms` first.

        With nothing to do it rests, in real time, until a post or a file wakes it or the next timer is due.
        """
        advance = self.step if self._order is not None else self._burst
        while not until():
            if deadline_ms is not None and self._clock.now_ms() >= deadline_ms:
                return False
            if not advance():
                self._rest(deadline_ms)
        return True

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` between two steps, soon. For other threads and signal handlers."""
        self._reactor.post(None, call)

    def take_in(self, message: Message) -> None:
        """What another worker sent; as a call on this worker's own thread."""
        self._bus.take_in(message)

    def due_ms(self) -> int | None:
        """When the next timer is due (a component's, a tick, a message timeout); None if none is set."""
        return self._timers.due_ms()

    def status(self) -> dict[str, list[Status]]:
        """What each task of this worker says of itself, by component, in the order of task ids."""
        tasks, local = self.deployment.tasks, self._bus.local
        return {
            component: [self._status(task) for task in tasks[component] if task in local]
            for component in self.deployment.specs
        }

    def settled(self) -> bool:
        """Nothing is on its way, and every component says that it has nothing left to do."""
        return not self._reactor.posted and not self._mail and all(self._status(task).settled for task in self.tasks)

    @property
    def waited_for(self) -> int:
        """Tuples of this worker's spouts that are neither acked nor failed yet."""
        return self._bus.waited_for

    @property
    def behind(self) -> bool:
        """More is on its way to the tasks here than they keep up with."""
        return len(self._mail) > MOST_MAIL

    def activate(self) -> None:
        """The spouts emit (again)."""
        self._active = True
        for task in tuple(self._spouts):
            self._activate(task)

    def deactivate(self) -> None:
        """The spouts emit no more; what is on its way goes on, acks and fails still reach the spouts."""
        self._active = False
        for task in tuple(self._spouts):
            if task in self._hosts:
                self._call(self._spout(task), self._spout(task).component.deactivate)

    def fail_pending(self) -> None:
        """Another worker died: whatever the spouts here wait for has failed."""
        self._bus.fail_pending()

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
            host.die()
        self._state = "closed"
        self._reactor.close()
        if errors:
            raise errors[0]

    def kill_task(self, task: int) -> None:
        """As if the task's process died: nothing is closed, what it held fails, a new one takes its place."""
        if task not in self._hosts:
            raise StormlineError(f"no task {task} is running; running are {sorted(self._hosts)}")
        self._drop(self._hosts[task])

    def crash(self) -> None:
        """As if the machine died: nothing is closed, nothing is told to anyone, the worker is of no more use."""
        self._state = "crashed"

    def _check_running(self) -> None:
        if self._state != "running":
            raise StormlineError(f"the engine of topology {self.deployment.name} is {self._state}")

    def _burst(self) -> bool:
        """Several things of the flow, then whatever else is due."""
        self._check_running()
        done = flowed = self._flow()
        for _ in range(BURST):
            if not flowed:
                break
            flowed = self._flow()
        done |= self._run_posted()
        done |= self._timers.fire()
        if self._transport is not None:
            self._transport.flush(behind=self.behind)
        return done

    def _flow(self) -> bool:
        if self._vacant:
            task = self._vacant.popleft()
            self._make(task)
            self._activate(task)
            return True
        if self._order is not None and self._order.random() < SPOUT_FIRST:
            return self._ask_spouts() or self._deliver()
        return self._deliver() if self._mail else self._ask_spouts()

    def _deliver(self) -> bool:
        if not self._mail:
            return False
        task, parcel = self._mail.take()
        host: Any = self._hosts[task]
        if isinstance(parcel, Received):
            tup = parcel.tuple
            host.received[tup.id] = parcel
            call, argument = host.component.execute, tup
        else:
            call, argument = host.component.ack if parcel.acked else host.component.fail, parcel.message_id
        try:
            call(argument)
        except Exception as error:  # whatever a component raises: see `_raised`
            self._raised(host, error)
            return True
        due_ms = host.component.due_ms
        if due_ms is not None and due_ms < self._timers.earliest_ms:
            self._timers.earliest_ms = due_ms
        return True

    def _ask_spouts(self) -> bool:
        """Each spout once, until one has emitted."""
        if not self._active or (self._transport is not None and self._transport.congested):
            return False
        spouts = self._spouts
        if self._order is not None and spouts:
            spouts.rotate(self._order.randrange(len(spouts)))
        limits = self.deployment.most_pending
        for _ in range(len(spouts)):
            spouts.rotate(-1)
            task = spouts[-1]
            if limits and self._is_full(task):
                continue
            host = self._hosts[task]
            component = cast(SpoutComponent, host.component)
            try:
                emitted = component.next_tuple()
            except Exception as error:  # whatever a component raises: see `_raised`
                self._raised(host, error)
                return True
            due_ms = component.due_ms
            if due_ms is not None and due_ms < self._timers.earliest_ms:
                self._timers.earliest_ms = due_ms
            if emitted or self._mail or self._vacant or self._reactor.posted:
                return True
        return False

    def _is_full(self, task: int) -> bool:
        room = self._room(task)
        return room is not None and room <= 0

    def _room(self, task: int) -> int | None:
        limit = self.deployment.most_pending.get(task)
        if limit is None:
            return None
        pending = self._bus.pending
        return limit[0] - sum(len(pending[each]) for each in limit[1] if each in pending)

    def _run_posted(self) -> bool:
        served = self._reactor.poll()
        posted = self._reactor.posted
        if not posted:
            return served
        self._run_call(*posted.popleft())
        return True

    def _run_call(self, host: TaskHost | None, call: Callable[[], None]) -> None:
        if host is None:
            call()
        elif not host.dead:
            self._call(host, call)

    def _rest(self, deadline_ms: int | None) -> None:
        if self._transport is not None:
            self._transport.flush(behind=self.behind)
        ends = [at for at in (self.due_ms(), deadline_ms) if at is not None]
        self._reactor.rest(max(0, min(ends) - self._clock.now_ms()) / 1000 if ends else None)

    def _on_time(self, host: TaskHost, now_ms: int) -> None:
        if not host.dead:
            self._call(host, host.component.on_time, now_ms)

    def _make(self, task: int) -> None:
        deployment = self.deployment
        spec = deployment.hosted[task]
        make_host = SpoutHost if spec.is_spout else BoltHost
        routes = routes_of(spec, task, deployment.topology, deployment.tasks, self._bus.local, self._random)
        handshake = partial(deployment.handshake, task)
        host: TaskHost = make_host(deployment.context(task), self._edges, self._bus, self._reactor, routes, handshake)
        self._hosts[task] = host
        if isinstance(host, SpoutHost):
            host.room = partial(self._room, task)

        def enter() -> None:
            host.component = spec.make()
            host.component.prepare(cast(Host, host))

        self._call(host, enter)
        if not host.dead:
            self._timers.begin_ticks(task)

    def _activate(self, task: int) -> None:
        host = self._hosts.get(task)
        if self._active and isinstance(host, SpoutHost):
            self._call(host, host.component.activate)

    def _drop(self, host: TaskHost) -> None:
        if host.dead:
            return
        host.die()
        task = host.context.task
        del self._hosts[task]
        self._timers.end_ticks(task)
        self._vacant.append(task)
        self._bus.bury(task, list(host.received.values()) if isinstance(host, BoltHost) else [])

    def _call(self, host: TaskHost, call: Callable[..., Any], *args: Any) -> Any:
        """Call a component, or on its behalf. None if that cost the task its place."""
        try:
            result = call(*args)
        except Exception as error:  # whatever a component raises: see `_raised`
            self._raised(host, error)
            return None
        component = getattr(host, "component", None)
        due_ms = None if component is None else component.due_ms
        if due_ms is not None and due_ms < self._timers.earliest_ms:
            self._timers.earliest_ms = due_ms
        return result

    def _raised(self, host: TaskHost, error: Exception) -> None:
        fatal = self._deaths.fatal(host, error)
        if fatal is None:
            self._drop(host)
            return
        self._state = f"stopped by an error in {host}"
        raise fatal from (None if fatal is error else error)

    def _spout(self, task: int) -> SpoutHost:
        return cast(SpoutHost, self._hosts[task])

    def _status(self, task: int) -> Status:
        host = self._hosts.get(task)
        status = None if host is None else self._call(host, host.component.status)
        return status or Status(trouble="died; is made anew")
