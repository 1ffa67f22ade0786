"""Stands in for stdout while a component runs: on Storm stdout belongs to the protocol, so prints go to the log."""

from __future__ import annotations

import io
from collections.abc import Callable

HINT = "(printed; on Storm stdout belongs to the protocol: use self.logger.info(...) instead)"


class Prints(io.TextIOBase):
    """`say` gets each line that was printed, the first one with a hint."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = ""
        self._hinted = False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._say(line if self._hinted else f"{line}  {HINT}")
            self._hinted = True
        return len(text)
