"""A program that goes on when the one that started it has ended, found again by a lock which it holds.

RUN/NAME is locked (flock(2)) by the program itself, through a descriptor it inherits, and holds its pid: so a pid is
trusted only while its program lives. An empty file: stopped on purpose. A pid without a lock: it ended by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from stormline.core.errors import ServerError
from stormline.embedded.process import LOG_LIMIT, inheritable_copy

GRACE_S: Final = 15.0
"""Between SIGTERM and SIGKILL. Kafka takes some seconds to close its log."""
_LOCK_S: Final = 2.0
_PAUSE_S: Final = 0.02
# The outer shell ends at once, so that the program is nobody's child here; the inner one becomes the program.
_START: Final = '"$@" &'
_BECOME: Final = 'echo $$ >"$0" && exec "$@"'


class Daemon:
    """`name` is that of its file in `run`; its output is appended to `log`."""

    def __init__(self, name: str, run: Path, log: Path) -> None:
        self.name = name
        self.log = log
        self._file = run / name
        self._log_start = 0

    def launch(self, command: Sequence[str], *, directory: Path, environment: Mapping[str, str]) -> None:
        """Start it; returns when it has its pid, not when it answers. Raises ServerError if it runs already."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_name(self.log.name + ".old"))
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(fd)
            inherited = inheritable_copy(fd)
            try:
                with self.log.open("ab") as output:
                    subprocess.run(
                        ["/bin/sh", "-c", _START, "sh", "/bin/sh", "-c", _BECOME, str(self._file), *command],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        cwd=directory,
                        env=dict(environment),
                        pass_fds=[inherited],
                        start_new_session=True,
                        check=True,
                    )
            finally:
                os.close(inherited)
        finally:
            os.close(fd)
        self._await(lambda: self._written() is not None or not self._is_locked(), _LOCK_S)

    @property
    def pid(self) -> int | None:
        """None if it does not run."""
        return self._written() if self._is_locked() else None

    @property
    def ended(self) -> bool:
        """It was started, and has ended without having been stopped."""
        return not self._is_locked() and self._written() is not None

    def last_lines(self, count: int = 10) -> str:
        """The end of what it has said since `launch`, or in the last 4 KB."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 4096))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""

    def terminate(self) -> None:
        """Ask it to stop; returns at once."""
        self._signal(signal.SIGTERM)

    def wait(self) -> None:
        """After `terminate`: return when it has gone; it is killed when the grace time is over."""
        if not self._await(lambda: not self._is_locked(), GRACE_S):
            self._signal(signal.SIGKILL)
            if not self._await(lambda: not self._is_locked(), GRACE_S):
                raise ServerError(f"{self.name} (process {self.pid}) does not end, even when killed")
        if self._file.exists():
            os.truncate(self._file, 0)

    def _signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _written(self) -> int | None:
        try:
            text = self._file.read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

    def _is_locked(self) -> bool:
        import fcntl  # not on Windows, which has no Redis either

        try:
            fd = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _lock(self, fd: int) -> None:
        """A look by `pid` elsewhere may hold the lock for a moment."""
        import fcntl

        def locked() -> bool:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not self._await(locked, _LOCK_S):
            raise ServerError(f"{self.name} runs already, as process {self._written()}")
        os.ftruncate(fd, 0)

    @staticmethod
    def _await(condition: Callable[[], bool], limit_s: float) -> bool:
        until = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(_PAUSE_S)
        return True
