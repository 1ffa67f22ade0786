"""The broker without its sockets: topics, groups, commits and transactions, and what is to be done once a second."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stormline.embedded.kafka.append_file import AppendFile, sync_directory
from stormline.embedded.kafka.catalog import Catalog
from stormline.embedded.kafka.commits import Commits
from stormline.embedded.kafka.coordinator import Coordinator
from stormline.embedded.kafka.errors import Code, RefusedError, tell
from stormline.embedded.kafka.group import Group

NODE_ID = 1
HOST = "127.0.0.1"
LEADER_EPOCH = 0
_RETENTION_EVERY = 60  # in seconds; it also runs when a segment is closed
_WELL_AFTER_S = 5  # without a failure: on a full disk a small write may succeed between large ones that do not

T = TypeVar("T")


class Broker:
    """What the request handlers share. `port` is where clients reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0
        self.groups: dict[str, Group] = {}
        self._failed_at: float | None = None
        self._stopped_in_order = directory / "stopped-in-order"
        is_intact = self._stopped_in_order.exists()
        self._stopped_in_order.unlink(missing_ok=True)
        sync_directory(directory)  # or the death of the machine brings the mark back, beside a torn tail
        self.commits = Commits(directory)
        self.catalog = Catalog(directory, is_intact=is_intact)
        self.coordinator = Coordinator(directory, self.catalog, self.commits)

    def stored(self, write: Callable[..., T], *arguments: Any, code: Code = Code.KAFKA_STORAGE_ERROR) -> T:
        """Run what writes to the disk. An OSError becomes RefusedError, and is told on stderr once until it is over."""
        try:
            done = write(*arguments)
        except OSError as error:
            reason = f"cannot write under {self.directory}: {error.strerror}"
            if self._failed_at is None:
                tell(f"{reason}; clients get errors until there is room")
            self._failed_at = time.monotonic()
            raise RefusedError(code, reason) from error
        if self._failed_at is not None and time.monotonic() - self._failed_at > _WELL_AFTER_S:
            tell(f"writing under {self.directory} works again")
            self._failed_at = None
        return done

    async def upkeep(self) -> None:
        """Every second: make what was appended safe from the death of the machine. Raises OSError if that fails,

        which must end the broker: the system may have dropped what it could not write.
        """
        seconds = 0
        while True:
            if seconds % _RETENTION_EVERY == 0:
                for log in self.catalog.logs():
                    log.retain(int(time.time() * 1000))
            await asyncio.sleep(1)
            seconds += 1
            with contextlib.suppress(RefusedError):  # told, and tried again in a second
                self.stored(self.coordinator.expire)
            if dirty := [file for file in self._files() if file.is_dirty]:
                await asyncio.to_thread(_sync, [_duplicate(file) for file in dirty])

    def _files(self) -> list[AppendFile]:
        journals = [self.commits.journal.file, self.coordinator.transactions.journal.file]
        return [*journals, *(log.segments[-1].file for log in self.catalog.logs())]

    def close(self) -> None:
        """Sync and close everything, and leave the mark that no file has a torn tail."""
        for file in self._files():
            file.sync()
        self.catalog.close()
        self.commits.close()
        self.coordinator.transactions.close()
        self._stopped_in_order.touch()
        sync_directory(self.directory)


def _duplicate(file: AppendFile) -> int:
    """A descriptor of its own for the syncing thread: the file may be closed meanwhile."""
    file.is_dirty = False
    return os.dup(file.fd)


def _sync(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
