"""What a stock component finds in this process in the place of pipes, root logger and stdout."""

from __future__ import annotations

import io
import logging
import os
from typing import Any, Protocol

from pystorm.serializers.serializer import Serializer

from stormline.components.host import Host


class Talks(Protocol):
    """A task that a stock component talks to."""

    def read(self) -> Any: ...

    def obey(self, message: dict[str, Any]) -> None: ...

    def printed(self, line: str) -> None: ...


class Direct(Serializer):
    """In the place of pystorm's JSON on stdin and stdout, neither of which it touches."""

    task: Talks

    def __init__(self, input_stream: Any, output_stream: Any, reader_lock: Any, writer_lock: Any) -> None:
        super().__init__(None, None, reader_lock, writer_lock)  # type: ignore[no-untyped-call]

    def read_message(self) -> Any:
        return self.task.read()

    def send_message(self, msg_dict: dict[str, Any]) -> None:
        self.task.obey(msg_dict)


class ToHost(logging.Handler):
    """A task's own log lines, formatted as pystorm's handler was told to."""

    def __init__(self, host: Host, like: logging.Handler) -> None:
        super().__init__(like.level)
        self._host = host
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._host.log(record.levelno, self.format(record))
        except Exception:  # a log line must not end what it tells of
            self.handleError(record)


class Prints(io.TextIOBase):
    """What a component prints, line by line, into its task's log."""

    def __init__(self, task: Talks) -> None:
        self._task = task
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._task.printed(line)
        return len(text)

    def fileno(self) -> int:
        return 2 if os.name == "posix" else super().fileno()
