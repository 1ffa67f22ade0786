"""The workers of one topology, seen from the process that runs it: started, watched, started again, ended.

When a worker dies, first every other one stops sending to it; then all that spouts wait for has failed, as nobody knows
what the dead one held (with `strict` nothing fails: tuples time out, as on a cluster); then a new one takes its place.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from stormline.core import errors
from stormline.core.errors import StormlineError, UserCodeError
from stormline.core.status import Status
from stormline.engine import control
from stormline.engine.clock import Clock
from stormline.engine.conf import longest_silence_ms
from stormline.engine.control import Channel
from stormline.engine.deployment import Deployment
from stormline.engine.process import CONTROL, TELL_STACK
from stormline.multilang.traces import innermost

log = logging.getLogger("stormline.engine")

DEATHS_AT_START = 3
"""So many deaths of a worker in a row before its tasks were prepared end the run."""
CLOSE_WITHIN_MS = 10_000
TAIL_BYTES = 4_000
NOTHING_YET = control.Report(-1, {}, settled=False, waited_for=0)


class Workers:
    """`supervisor` forks them (see `engine.supervisor`); `say` is told the lines that the user is to see."""

    def __init__(
        self,
        deployment: Deployment,
        supervisor: Channel,
        folder: Path,
        logs: Path,
        *,
        clock: Clock,
        say: Callable[[int, str], None],
        strict: bool = False,
    ) -> None:
        """`folder`: see `make_folder`; `logs`: where the supervisor puts what workers write to stdout and stderr."""
        self.deployment = deployment
        self._supervisor = supervisor
        self._logs = logs
        self._clock = clock
        self._say = say
        self._strict = strict
        self._workers = [_Worker() for _ in range(deployment.workers)]
        self._active = True
        self.deaths = 0
        """Workers that died so far."""
        self._silence_ms = longest_silence_ms(deployment.conf)
        self._round = 0
        self._asked_ms = 0
        self._settled_in: int | None = None
        """The round in which all were settled first."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / CONTROL))
        self._listener.listen(deployment.workers)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(supervisor, selectors.EVENT_READ, self._hear_supervisor)

    def start(self) -> None:
        """Start all; spouts are activated once every worker is prepared."""
        for number in range(len(self._workers)):
            self._supervisor.say(control.Start(number))

    def run(self, until: Callable[[], bool], *, deadline_ms: int) -> bool:
        """Serve the workers until `until()`; False if the clock reached `deadline_ms` first.

        Raises the error of a worker that ended the run, or UserCodeError if one cannot be kept alive.
        """
        while not until():
            left_ms = deadline_ms - self._clock.now_ms()
            if left_ms <= 0:
                return False
            for key, _ in self._selector.select(left_ms / 1000):
                key.data()
        return True

    def ask(self) -> None:
        """Ask each worker how things stand; what they say arrives during `run`."""
        self._round += 1
        now_ms = self._clock.now_ms()
        # While this process itself stood still (a suspended machine, Ctrl-Z) nobody was silent.
        passed_ms, self._asked_ms = min(now_ms - self._asked_ms, 1_000), now_ms
        for number, worker in enumerate(self._workers):
            if worker.started:
                worker.silent_ms += passed_ms
                self._watch(number, worker)
            self._say_to(worker, control.Ask(self._round))

    def status(self) -> dict[str, list[Status]]:
        """What each task said of itself last, by component, in the order of task ids."""
        merged: dict[str, list[tuple[int, Status]]] = {component: [] for component in self.deployment.specs}
        for worker in self._workers:
            for component, tasks in worker.report.statuses.items():
                merged[component] += tasks
        return {
            component: [status for _, status in sorted(tasks, key=lambda t: t[0])]
            for component, tasks in merged.items()
        }

    def settled(self) -> bool:
        """Every component said that it has nothing left to do, in two rounds one after the other: what a spout had
        settled before the second was asked for can be on its way to nobody."""
        rounds = {worker.report.round for worker in self._workers}
        if not all(worker.report.settled and worker.started for worker in self._workers):
            self._settled_in = None
        elif len(rounds) == 1:
            (number,) = rounds
            if self._settled_in is not None and number > self._settled_in:
                return True
            self._settled_in = number
        return False

    @property
    def waited_for(self) -> int:
        """Tuples that spouts wait for, by their last reports."""
        return sum(worker.report.waited_for for worker in self._workers)

    def deactivate(self) -> None:
        """Spouts emit no more."""
        self._active = False
        self._tell(control.Deactivate())

    def close(self) -> None:
        """The orderly end of every worker; one that takes longer than some seconds is killed."""
        for worker in self._workers:
            worker.closing = True
        self._tell(control.Close())
        deadline_ms = self._clock.now_ms() + CLOSE_WITHIN_MS
        if not self.run(lambda: all(worker.ended for worker in self._workers), deadline_ms=deadline_ms):
            slow = [str(number) for number, worker in enumerate(self._workers) if not worker.ended]
            log.warning("worker %s did not close within %d ms and is killed", ", ".join(slow), CLOSE_WITHIN_MS)

    def kill(self) -> None:
        """End the supervisor, and with it every worker that still runs."""
        self._selector.close()
        self._supervisor.close()
        self._listener.close()
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.close()

    @property
    def pids(self) -> dict[int, int]:
        """Worker -> its process, for those that have said hello."""
        return {number: worker.pid for number, worker in enumerate(self._workers) if worker.channel is not None}

    # what is heard

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        channel = Channel(connection)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear_stranger(channel))

    def _hear_stranger(self, channel: Channel) -> None:
        said = channel.hear()
        self._selector.unregister(channel)
        if said is None:
            channel.close()
            return
        hello, *more = said
        assert isinstance(hello, control.Hello)
        worker = self._workers[hello.worker]
        self._hang_up(worker)
        worker.channel, worker.pid = channel, hello.pid
        log.info("worker %d is process %d", hello.worker, hello.pid)
        self._selector.register(channel, selectors.EVENT_READ, lambda: self._hear(hello.worker, channel))
        self._say_to(worker, control.Begin(dict(self.deployment.conf)))
        for message in more:
            self._obey(hello.worker, message)

    def _hear(self, number: int, channel: Channel) -> None:
        said = channel.hear()
        if said is None:
            self._hang_up(self._workers[number])  # it died: the supervisor says so
            return
        for message in said:
            self._obey(number, message)

    def _obey(self, number: int, message: control.Said) -> None:
        worker = self._workers[number]
        match message:
            case control.Started():
                worker.started, worker.deaths = True, 0
                self._connect(number)
            case control.Report():
                worker.report, worker.silent_ms, worker.stack_asked = message, 0, False
            case control.Heard(lost):
                self._heard(lost, number)
            case control.Line(level, text):
                self._say(level, text)
            case control.Raised(kind, text):
                worker.raised = True
                raise _error(kind, text)
            case control.Ended():
                worker.ended = True
            case _:
                raise AssertionError(f"worker {number} is not to say {message}")

    def _connect(self, number: int) -> None:
        """A worker has started. The first time round the others are connected, and spouts active, once all have."""
        worker = self._workers[number]
        others = [other for other, each in enumerate(self._workers) if other != number and each.started]
        self._say_to(worker, control.Connect(others))
        for other in others:
            self._say_to(self._workers[other], control.Connect([number]))
        if all(each.started for each in self._workers) and self._active:
            for each in self._workers:
                if not each.active:
                    each.active = True
                    self._say_to(each, control.Activate())

    # deaths

    def _watch(self, number: int, worker: _Worker) -> None:
        """Kill a worker that does not answer, as Storm's supervisor would; the user learns where it was."""
        if worker.silent_ms >= self._silence_ms:
            log.error(
                "worker %d (process %d) said nothing for %d s and is killed; where it was:\n%s",
                *(number, worker.pid, worker.silent_ms // 1000, innermost(self._tail(number))),
            )
            worker.silent_ms = 0
            sent = signal.SIGKILL
        elif worker.silent_ms >= self._silence_ms / 2 and not worker.stack_asked:
            worker.stack_asked = True
            sent = TELL_STACK
        else:
            return
        with suppress(ProcessLookupError):  # it has just died, and the supervisor is about to say so
            os.kill(worker.pid, sent)

    def _hear_supervisor(self) -> None:
        said = self._supervisor.hear()
        if said is None:
            raise StormlineError("the supervisor of the workers is gone; results are as of the last flush")
        for message in said:
            if isinstance(message, control.Exited):
                self._exited(message.worker, message.code)

    def _exited(self, number: int, code: int) -> None:
        worker = self._workers[number]
        if worker.closing or worker.ended:
            worker.ended = True
            return
        if worker.raised:
            return  # the error itself is on its way
        worker.deaths += 1
        self.deaths += 1
        started, worker.started, worker.active = worker.started, False, False
        worker.report, worker.silent_ms, worker.stack_asked = NOTHING_YET, 0, False
        self._hang_up(worker)
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        if worker.deaths >= DEATHS_AT_START and not started:
            raise UserCodeError(
                f"worker {number} {how}, {worker.deaths} times before its tasks were prepared:\n{self._tail(number)}"
            )
        log.warning("worker %d (process %d) %s and is started again; see %s", number, worker.pid, how, self._logs)
        for other, each in enumerate(self._workers):
            if each.unheard is not None:
                self._heard(other, number)  # what is dead sends nothing any more
        worker.unheard = {other for other, each in enumerate(self._workers) if each.channel is not None}
        for other in worker.unheard:
            self._say_to(self._workers[other], control.Lost(number))
        self._heard(number, number)

    def _heard(self, lost: int, by: int) -> None:
        """Worker `by` sends nothing more to `lost`; once that is true of all, there may be a new one."""
        dead = self._workers[lost]
        if dead.unheard is None:
            return
        dead.unheard.discard(by)
        if not dead.unheard:
            dead.unheard = None
            if not self._strict:
                self._tell(control.FailPending())
            self._supervisor.say(control.Start(lost))

    def _tell(self, message: control.Said) -> None:
        for worker in self._workers:
            if worker.started:
                self._say_to(worker, message)

    def _say_to(self, worker: _Worker, message: control.Said) -> None:
        if worker.channel is not None:
            try:
                worker.channel.say(message)
            except OSError:
                self._hang_up(worker)  # it died: the supervisor says so

    def _hang_up(self, worker: _Worker) -> None:
        if worker.channel is not None:
            channel, worker.channel = worker.channel, None
            self._selector.unregister(channel)
            channel.close()

    def _tail(self, number: int) -> str:
        try:
            return (self._logs / f"worker-{number}.out").read_bytes()[-TAIL_BYTES:].decode(errors="replace")
        except OSError as error:
            return str(error)


class _Worker:
    """What is known of one worker."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.pid = 0
        self.started = False
        self.active = False
        self.closing = False
        self.ended = False
        self.raised = False
        self.deaths = 0
        """In a row, since its tasks were last prepared."""
        self.unheard: set[int] | None = None
        """After its death: workers that may still send to it."""
        self.report = NOTHING_YET
        self.silent_ms = 0
        """Since it was asked and did not answer."""
        self.stack_asked = False


def make_folder() -> Path:
    """A folder of one's own for the sockets of a run; its path is short, as paths of sockets must be."""
    return Path(tempfile.mkdtemp(prefix="stormline-"))


def _error(kind: str, text: str) -> StormlineError:
    cls: Any = getattr(errors, kind, StormlineError)
    return cls(text)  # type: ignore[no-any-return]
