"""A server process that ends when its owner does, however the owner ends.

Each server runs under a guard (`guard.sh`, two shells of about 1 MB, in a session of its own, so that a signal to the
owner's process group reaches neither): the guard reads a pipe whose write end only the owner holds. Works on Linux and
macOS; PR_SET_PDEATHSIG would not, and it watches the thread that forked, not the process.

    owner --pipe--> guard --+-- server
                            (one session and process group; its number is the guard's pid)
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from stormline.embedded import ownerfd

GUARD: Final = Path(__file__).with_name("guard.sh")
GRACE_S: Final = 5
"""Seconds between SIGTERM and SIGKILL. A healthy server is down within 0.2 s."""
LOG_LIMIT: Final = 1 << 20
"""Bytes; a longer log is moved to `NAME.old` when its server starts."""


class Readiness(Enum):
    """How far a server that was launched has come."""

    NOT_YET = "not yet"
    LOADING = "loading"
    """It reads its data, for as long as that takes."""
    READY = "ready"


def inheritable_copy(fd: int) -> int:
    """A copy of `fd` at 10 or above, where the guard's shell cannot trip over it; close-on-exec until handed on."""
    import fcntl  # not on Windows, which is told so in words before this is reached

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


class GuardedProcess:
    """`command`, started under a guard. Its output is appended to `log`.

    `inherit`: descriptors (10 or above) which the server gets under the same numbers; the caller keeps its own copies.
    `group`: the guard's pid, which is also the process group of the server.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, inherit: Sequence[int] = (), grace_s: int = GRACE_S
    ) -> None:
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(log.name + ".old"))
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._grace_s = grace_s
        read_end, write_end = os.pipe()
        try:
            with log.open("ab") as output:
                self._guard = subprocess.Popen(
                    ["/bin/sh", str(GUARD), str(grace_s), *command],
                    stdin=read_end,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=inherit,
                    start_new_session=True,
                )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        self._leash = ownerfd.hold(write_end)
        self._asked_to_stop = False
        self.group = self._guard.pid

    def poll(self) -> int | None:
        """None while it runs, else an exit status: 128 + N after signal N to the server, -N after one to the guard."""
        status = self._guard.poll()
        if status is not None and ownerfd.release(self._leash):
            # Whatever the guard has left (a server, if somebody killed the guard) must not outlive it.
            self._kill_group()
        return status

    def last_lines(self, count: int = 10) -> str:
        """The end of what it has written to its log since it was started."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 4096))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])

    def terminate(self) -> None:
        """Ask the server to stop; returns at once. Nothing happens if it has ended, or in a forked child."""
        self._asked_to_stop |= ownerfd.release(self._leash)

    def wait(self) -> None:
        """After `terminate`: return when the server has gone. Bounded by the grace time and two seconds."""
        if not self._asked_to_stop:
            return
        try:
            self._guard.wait(self._grace_s + 2)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._guard.wait()
        else:
            self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            os.killpg(self.group, signal.SIGKILL)
