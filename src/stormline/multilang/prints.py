"""What a component says besides messages, as log messages: its prints, and the lines of Python's logging."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

Log = Callable[[int, str], None]
"""Takes one of Storm's levels (0 trace, 1 debug, 2 info, 3 warn, 4 error) and a text."""
PRINT_HINT = "print() goes to this log, as stdout belongs to Storm; self.logger.info(...) says the same with a level"
_LEVELS = ((logging.ERROR, 4), (logging.WARNING, 3), (logging.INFO, 2), (logging.DEBUG, 1))


def storm_level(level: int) -> int:
    """Of a level of Python's logging."""
    return next((number for least, number in _LEVELS if level >= least), 0)


class Prints(io.TextIOBase):
    """In the place of sys.stdout: line by line."""

    def __init__(self, log: Log, hint: str = PRINT_HINT) -> None:
        self._log = log
        self._hint = hint
        self._line = ""
        self._hinted = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        if lines and not self._hinted:
            self._hinted = True
            self._log(3, self._hint)
        for line in lines:
            self._log(2, line)
        return len(text)


class LogLines(logging.Handler):
    """A handler of Python's logging."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log(storm_level(record.levelno), self.format(record))
        except Exception:  # a log line must not end what it tells of
            self.handleError(record)
