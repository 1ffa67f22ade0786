"""Room on the disk under the data, and the error that says there is none."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stormline.core.errors import ServerError

LEAST_ROOM: Final = 2 << 20
"""Bytes; below it the disk counts as full, since one batch of records or one flush may need as much."""
# What Valkey says when it ends because of it ("Short write" comes first, before the part written is cut off again).
_SIGNS: Final = ("No space left on device", "Disk quota exceeded", "Short write while writing to the AOF file")


def room(directory: Path) -> int:
    """Bytes that may still be written under `directory`."""
    return shutil.disk_usage(directory).free


def says_full(log_lines: str) -> bool:
    """Whether the last words of a server mean that its disk was full."""
    return any(sign in log_lines for sign in _SIGNS)


def full(directory: Path) -> ServerError:
    return ServerError(
        f"the disk under {directory} is full: {room(directory) / 1e6:.1f} MB left. "
        "Nothing that was acknowledged is lost. "
        f"Make room there (`df -h {directory}` shows the disk, `du -sh {directory}` the part that is ours), "
        "then run the same command again: it goes on where it stopped"
    )


@contextmanager
def faults_told(directory: Path) -> Iterator[None]:
    """Turn an OSError of the file system under `directory` into a ServerError in words."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(directory) from fault
        raise ServerError(
            f"the embedded servers cannot work in {directory}: {fault.strerror} ({fault.filename}). "
            "Give this user the right to write there, or run from another directory"
        ) from fault
