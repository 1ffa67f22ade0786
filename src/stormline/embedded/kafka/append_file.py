"""A file that only grows, and whose tail is never half an entry: a failed append is cut away.

Segments and journals are both of this kind. What `append` accepted is in the page cache: it survives the death of the
process at once and the death of the machine after the next `sync`.
"""

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


class AppendFile:
    """An open file with a known good `size` in bytes. Raises OSError when the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.size = os.fstat(self.fd).st_size
        self.is_dirty = self._torn = False
        if is_new:
            sync_directory(path.parent)

    def append(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write the pieces as one; answer the position of the first byte. On an OSError the file is as before."""
        position = self.size
        total = sum(map(len, pieces))
        if self._torn:
            self.cut(position)
        self._torn = True
        try:
            if os.writev(self.fd, pieces) != total:
                raise OSError(errno.ENOSPC, "only a part could be written", str(self.path))
        except OSError:
            with contextlib.suppress(OSError):  # a file that cannot be cut now is cut before its next append
                self.cut(position)
            raise
        self._torn = False
        self.is_dirty = True
        self.size = position + total
        return position

    def cut(self, size: int) -> None:
        """Drop everything from byte `size` on."""
        os.ftruncate(self.fd, size)
        self.size = size
        self._torn = False

    def read(self, position: int, length: int) -> bytes:
        """At most `length` bytes from `position` on."""
        return os.pread(self.fd, length, position)

    @contextlib.contextmanager
    def view(self) -> Iterator[memoryview]:
        """The whole content, mapped for one walk over it."""
        if not self.size:  # an empty file cannot be mapped
            yield memoryview(b"")
            return
        with mmap.mmap(self.fd, self.size, access=mmap.ACCESS_READ) as pages, memoryview(pages) as content:
            yield content

    def sync(self) -> None:
        self.is_dirty = False
        os.fsync(self.fd)

    def close(self) -> None:
        os.close(self.fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive the death of the machine."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
