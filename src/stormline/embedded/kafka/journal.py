"""A durable list of changes, one checked JSON line each, rewritten when it has grown well past what it says.

The state it keeps is changed in one place: `apply` is called for every line at start and after every append.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stormline.embedded.kafka.append_file import AppendFile, sync_directory
from stormline.embedded.kafka.errors import DamagedError, tell

Entry = list[Any]
_SLACK_BYTES = 1 << 20  # below this a journal is not worth rewriting


class Journal:
    """`apply` takes in one entry; `snapshot` gives the entries that would make the present state from nothing."""

    def __init__(self, path: Path, apply: Callable[[Entry], None], snapshot: Callable[[], Iterable[Entry]]) -> None:
        self._apply = apply
        self._snapshot = snapshot
        self.file = AppendFile(path)
        self._replay()
        self._rewrite_at = self.file.size * 2 + _SLACK_BYTES

    def _replay(self) -> None:
        with self.file.view() as content:
            lines = bytes(content).split(b"\n")
        torn = lines.pop()  # what follows the last line end: nothing, or a write that was not finished
        for number, line in enumerate(lines, 1):
            if line[:8] != _checksum(line[9:]):
                raise self._damaged(f"is damaged at line {number}")
            try:
                self._apply(json.loads(line[9:]))
            except (ValueError, LookupError, TypeError) as error:
                raise self._damaged(f"says at line {number} what cannot be ({error!r})") from error
        if torn:
            tell(f"cut {len(torn)} bytes of an unfinished write from {self.file.path}")
            self.file.cut(self.file.size - len(torn))

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(
            f"{self.file.path} {what}. Put back a copy of it from a backup, or move {self.file.path.parent} away: the "
            "broker then begins anew, without the records in it"
        )

    def append(self, entry: Entry) -> None:
        """Keep an entry and apply it. On an OSError it is neither kept nor applied."""
        self.file.append([_line(entry)])
        self._apply(entry)
        if self.file.size > self._rewrite_at:
            self._rewrite()

    def _rewrite(self) -> None:
        path = self.file.path
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        try:
            file = AppendFile(fresh)
            try:
                file.append([b"".join(map(_line, self._snapshot()))])
                file.sync()
                os.replace(fresh, path)
            except OSError:
                file.close()
                fresh.unlink(missing_ok=True)
                raise
        except OSError:  # the old journal is whole, only longer; try again when it has doubled
            self._rewrite_at = self.file.size * 2
            return
        sync_directory(path.parent)
        self.file.close()
        file.path = path
        self.file = file
        self._rewrite_at = self.file.size * 2 + _SLACK_BYTES


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%s %s\n" % (_checksum(text), text)


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)
