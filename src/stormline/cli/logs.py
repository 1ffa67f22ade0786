"""Where log lines go: all of them into `logs/`, what the user is to see at once also to the screen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
MOST_BYTES = 10_000_000
KEPT_FILES = 5
MOST_LINES_A_SECOND = 50
TASKS = "stormline.task"
"""The logger of the lines that tasks write."""

Say = Callable[[int, str], None]


def log_to(folder: Path, name: str, say: Say, *, debug: bool) -> None:
    """From now on this process's log is `<name>.log` in `folder`, rotated at 10 MB, five older ones kept.

    To `say` go the lines of tasks from INFO on (with `debug` from DEBUG on), other warnings and errors, at most fifty a
    second.
    """
    file = RotatingFileHandler(folder / f"{name}.log", maxBytes=MOST_BYTES, backupCount=KEPT_FILES)
    file.setFormatter(logging.Formatter(FORMAT))
    screen = ToScreen(say, folder)
    screen.addFilter(lambda record: record.name == TASKS or record.levelno >= logging.WARNING)
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
    root.addHandler(file)
    root.addHandler(screen)
    logging.getLogger("stormline").setLevel(logging.DEBUG if debug else logging.INFO)


class ToScreen(logging.Handler):
    """Lines above a limit are counted instead: a component that floods its log does not stop the run."""

    def __init__(self, say: Say, folder: Path) -> None:
        super().__init__()
        self._say = say
        self._folder = folder
        self._second = 0
        self._lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        second = int(time.monotonic())
        if second != self._second:
            if self._lines > MOST_LINES_A_SECOND:
                left_out = self._lines - MOST_LINES_A_SECOND
                self._say(logging.WARNING, f"... {left_out:,} lines more, in {self._folder}")
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= MOST_LINES_A_SECOND:
            try:
                self._say(record.levelno, record.getMessage())
            except Exception:  # a log line must not end what it tells of
                self.handleError(record)
