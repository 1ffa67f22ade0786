"""One owner at a time per directory of the embedded servers, and nobody before the servers of the last one have gone.

Two locks (flock(2)) say who is there, so that no process number is ever trusted:
    DIR/owner   held by the owning process alone; its text is `PID run` or `PID brief`
    DIR/lock    held by the owner and, through inheritance, by its servers
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stormline.core.errors import ServerError
from stormline.embedded import ownerfd
from stormline.embedded.process import inheritable_copy

WAIT_MS: Final = 15_000
"""Longer than a guard gives a server to stop."""
GOING_MS: Final = 1_000
"""How long a live owner may be about to end, after a signal, before another is refused because of it."""
_PAUSE_S: Final = 0.02
_TELL_AFTER_MS: Final = 300


class DirectoryLock:
    """Held from `acquire` to `release`. `fd` is for the servers to inherit; nothing else may."""

    def __init__(self, owner_fd: int, fd: int) -> None:
        self._owner_fd = owner_fd
        self.fd = fd

    @classmethod
    def acquire(
        cls,
        directory: Path,
        *,
        brief: bool = False,
        wait_ms: int = WAIT_MS,
        on_wait: Callable[[str], None] = lambda line: None,
        instead: Callable[[], bool] | None = None,
    ) -> DirectoryLock | None:
        """Lock `directory`, which exists. Waits for the servers of an owner that has died, and for a brief owner.

        `brief`: this owner will be gone within seconds, so others may wait for it instead of being refused.
        `on_wait` gets one line of text if there is something to wait for.
        `instead` is asked while an owner is alive; None is returned as soon as it says that there is another way.
        Raises ServerError when `wait_ms` is over; after GOING_MS if an owner is alive that is not brief and there is no
        `instead`.
        """
        started = time.monotonic()
        told = False
        owner_fd: int | None = None
        try:
            while True:
                if owner_fd is None:
                    owner_fd = _try_lock(directory / "owner")
                    if owner_fd is not None:
                        os.ftruncate(owner_fd, 0)
                        os.pwrite(owner_fd, f"{os.getpid()} {'brief' if brief else 'run'}\n".encode(), 0)
                if owner_fd is not None and (fd := _try_lock(directory / "lock")) is not None:
                    lock = cls(owner_fd, ownerfd.hold(inheritable_copy(fd)))
                    os.close(fd)
                    ownerfd.hold(owner_fd)
                    owner_fd = None
                    return lock
                owner = None if owner_fd is not None else _Owner.of(directory)
                if owner and instead and instead():
                    return None
                waited_ms = (time.monotonic() - started) * 1000
                if owner and not (owner.brief or instead) and waited_ms > GOING_MS:
                    raise owner.in_the_way(directory)
                if waited_ms > wait_ms:
                    raise owner.in_the_way(directory) if owner else _left_behind(directory, wait_ms)
                if not told and waited_ms > _TELL_AFTER_MS:
                    told = True
                    whom = f"process {owner.pid}" if owner else "the servers of an earlier run"
                    on_wait(f"Waiting for {whom} to let go of {directory}")
                time.sleep(_PAUSE_S)
        finally:
            if owner_fd is not None:
                os.close(owner_fd)

    @property
    def held(self) -> bool:
        """False after `release`, and in a forked child."""
        return ownerfd.is_held(self.fd)

    def release(self) -> None:
        """Let the next owner in; call it when the servers have gone."""
        ownerfd.release(self.fd)
        ownerfd.release(self._owner_fd)


def _try_lock(path: Path) -> int | None:
    import fcntl  # not on Windows, which is told so in words before this is reached

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


@dataclass(frozen=True)
class _Owner:
    """What a living owner wrote about itself."""

    pid: str
    brief: bool

    @classmethod
    def of(cls, directory: Path) -> _Owner:
        pid, _, word = (directory / "owner").read_text().strip().partition(" ")
        return cls(pid, word == "brief")

    def in_the_way(self, directory: Path) -> ServerError:
        return ServerError(
            f"{directory} is in use by the running process {self.pid}: only one at a time may run the embedded servers "
            f"there. Stop it (Ctrl-C, or `kill {self.pid}`) and try again",
            retriable=True,
        )


def _left_behind(directory: Path, wait_ms: int) -> ServerError:
    return ServerError(
        f"the servers of an earlier run still hold {directory / 'lock'} after {wait_ms / 1000:g} s, though their owner "
        f"has ended. {directory / 'servers.json'} names their process groups: stop them with `kill -9 -- -GROUP`, "
        "and try again"
    )
