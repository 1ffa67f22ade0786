"""up, down and status of the cluster in one directory. Each may be called at any time, and again."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from stormline.cluster import jars, needs, parts, processes
from stormline.cluster.layout import Layout
from stormline.cluster.parts import Part
from stormline.cluster.settings import Settings
from stormline.core.errors import ServerError, SettingsError
from stormline.embedded import disk, ports

START_LIMIT_S: Final = 180.0
"""Without another part that answers; on two idle cores all take twelve together. What ends is told at once: this is for
what hangs."""
STOP_LIMIT_S: Final = 5.0
_PAUSE_S: Final = 0.1
Tell = Callable[[str], None]


class Line(NamedTuple):
    """One program of the cluster. `state`: running, silent (it runs but does not answer), ended, or stopped."""

    name: str
    state: str
    pid: int | None
    port: int
    memory_kb: int
    log: Path


class Status(NamedTuple):
    parts: list[Line]
    workers: list[Line]
    """Named by their topology's id."""
    missing: list[str]
    """What has to be installed before `up` can work, each with the line that does it."""


class Cluster:
    """The cluster under `directory`; `jars` may be shared with others."""

    def __init__(self, directory: Path, jars: Path, settings: Settings) -> None:
        self._layout = Layout(directory, jars, settings)

    @property
    def storm_home(self) -> Path:
        return self._layout.storm

    @property
    def worker_logs(self) -> Path:
        """TOPOLOGY-ID/PORT/worker.log below it."""
        return self._layout.logs / "workers-artifacts"

    def up(self, tell: Tell = lambda line: None) -> None:
        """Fetch what is missing, start what does not run, and return when each part answers.

        Raises SettingsError (Java or Maven missing, ports taken), ServerError (a part does not start). What runs then
        goes on; `up` may be called again.
        """
        layout = self._layout
        layout.settings.check()
        java_home = needs.require()
        with disk.faults_told(layout.directory):
            layout.directory.mkdir(parents=True, exist_ok=True)
            with self._alone(tell):
                jars.fetch(layout.jars, layout.settings.storm_version, layout.settings.kafka_version, java_home, tell)
                layout.write()
                wanted = parts.all_of(layout, java_home)
                absent = [part for part in wanted if part.daemon.pid is None]
                self._require_ports(absent)
                self._bring_up(wanted, absent, java_home, tell)

    def down(self, tell: Tell = lambda line: None) -> None:
        """Stop everything, workers too. Data stays; a topology that runs comes back with the next `up`."""
        layout = self._layout
        if not layout.directory.is_dir():
            return
        with self._alone(tell):
            every = parts.all_of(layout, needs.java_home() or Path("/"))
            by_name = {part.daemon.name: part for part in every}
            # First what writes to the others; the Supervisor would start its workers again.
            self._stop([by_name["supervisor"]], tell)
            self._stop_workers()
            self._stop([by_name[name] for name in ("nimbus", "kafka", "redis")], tell)
            self._stop([by_name["zookeeper"]], tell)

    def status(self) -> Status:
        layout = self._layout
        lines = []
        for part in parts.all_of(layout, needs.java_home() or Path("/")):
            pid = part.daemon.pid
            if pid is not None:
                state = "running" if part.answers() else "silent"
            else:
                state = "ended" if part.daemon.ended else "stopped"
            memory = processes.memory_kb(pid) if pid is not None else 0
            lines.append(Line(part.title, state, pid, part.ports[0][1], memory, part.daemon.log))
        workers = [
            Line(each.topology_id, "running", each.pid, each.port, each.memory_kb, log)
            for each in processes.workers(layout.storm)
            for log in [layout.worker_log(each.topology_id, each.port)]
        ]
        return Status(lines, workers, [found.fault for found in needs.look() if found.fault])

    def _require_ports(self, absent: list[Part]) -> None:
        own = {worker.port for worker in processes.workers(self._layout.storm)}  # they survive their Supervisor
        taken = [
            f'"{key}": {port} of cluster in config.json: port {port} of {ports.HOST} cannot be had, '
            f"{ports.holder(port)}. Stop that program, or set another port"
            for part in absent
            for key, port in part.ports
            if port not in own and ports.is_taken(port)
        ]
        if taken:
            raise SettingsError(*taken)

    def _launch(self, part: Part, java_home: Path, tell: Tell) -> None:
        how = "ended and is started again" if part.daemon.ended else "is started"
        tell(f"{part.title} {how}")
        if part.daemon.name == "kafka" and not self._layout.kafka_is_formatted:
            self._format_kafka(java_home)
        part.daemon.launch(part.command, directory=self._layout.storm, environment=parts.environment(java_home))

    def _format_kafka(self, java_home: Path) -> None:
        command = parts.format_command(self._layout, java_home)
        run = subprocess.run(command, cwd=self._layout.directory, capture_output=True, text=True)
        if run.returncode != 0:
            raise ServerError(f"Kafka's log cannot be made (status {run.returncode}):\n{run.stdout}{run.stderr}")

    def _bring_up(self, wanted: list[Part], absent: list[Part], java_home: Path, tell: Tell) -> None:
        """Start the absent, each as soon as the one it comes after answers; return when all answer."""
        since = time.monotonic()
        waiting, absent = list(wanted), list(absent)
        while waiting:
            silent = {part.title for part in waiting}
            for part in [part for part in absent if part.after not in silent]:
                self._launch(part, java_home, tell)
                absent.remove(part)
            for part in [part for part in waiting if part not in absent]:
                if part.answers():
                    waiting.remove(part)
                    since = time.monotonic()
                    tell(f"{part.title} answers on port {part.ports[0][1]}, process {part.daemon.pid}")
                elif part.daemon.pid is None:
                    first = waiting[0]  # all need ZooKeeper: if it is silent, it is the cause
                    if first is not part and first.daemon.pid is not None:
                        raise self._failed(first, "does not answer", before=f"{part.title} ended at its start, and ")
                    raise self._failed(part, "ended at its start")
            if waiting and time.monotonic() - since > START_LIMIT_S:
                raise self._failed(waiting[0], f"does not answer after {START_LIMIT_S:.0f} s")
            if waiting:
                time.sleep(_PAUSE_S)

    def _stop(self, which: list[Part], tell: Tell) -> None:
        running = [part for part in which if part.daemon.pid is not None]
        for part in running:
            part.daemon.terminate()
        for part in which:
            part.daemon.wait()
        for part in running:
            tell(f"{part.title} stopped")

    def _stop_workers(self) -> None:
        """The signals that a Supervisor gives: SIGTERM, then SIGKILL, to JVMs and components.

        Looked for again each time: a log writer may have been about to start its worker, and a component whose worker
        has gone is known only from the look before.
        """
        seen: set[tuple[int, str]] = set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            signalled: set[tuple[int, str]] = set()
            until = time.monotonic() + STOP_LIMIT_S
            while time.monotonic() < until:
                seen |= {(each.pid, " ".join(each.command)) for each in processes.left(self._layout.storm)}
                seen &= {(each.pid, " ".join(each.command)) for each in processes.table()}
                if not seen:
                    return
                for each in seen - signalled:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(each[0], number)
                signalled |= seen
                time.sleep(_PAUSE_S)
        raise ServerError(f"workers do not end, even when killed: {', '.join(str(pid) for pid, _ in seen)}")

    @contextmanager
    def _alone(self, tell: Tell) -> Iterator[None]:
        """One `up` or `down` at a time in this directory."""
        import fcntl

        fd = os.open(self._layout.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"Waiting for another `sparse up` or `sparse down` in {self._layout.directory}")
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @staticmethod
    def _failed(part: Part, what: str, before: str = "") -> ServerError:
        return ServerError(
            f"{before}{part.title} {what}. The end of its log, {part.daemon.log}:\n"
            f"{textwrap.indent(part.daemon.last_lines(), '  ')}\n"
            "The other parts run on; `sparse up` tries again, `sparse down` stops them"
        )
