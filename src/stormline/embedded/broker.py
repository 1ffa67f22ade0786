"""The embedded Kafka as a process: the development broker `stormline.embedded.kafka`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from stormline.embedded.process import GuardedProcess, Readiness, inheritable_copy


class KafkaServer:
    """One broker on the data under `directory`/kafka; its log is `directory`/kafka.log."""

    name: Final = "Kafka"
    key: Final = "kafka_port"

    def __init__(self, directory: Path, port: int) -> None:
        self.data = (directory / "kafka").resolve()
        self.log = directory / "kafka.log"
        self.port = port
        self._ready_fd: int | None = None

    def launch(self, lock_fd: int) -> GuardedProcess:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        ready_fd = inheritable_copy(write_end)
        os.close(write_end)
        # -P: a module of the user's in the current directory must not stand in for one of the broker's.
        command = [sys.executable, "-P", "-m", "stormline.embedded.kafka", "--directory", str(self.data)]
        command += ["--port", str(self.port), "--ready-fd", str(ready_fd)]
        try:
            process = GuardedProcess(command, log=self.log, inherit=[lock_fd, ready_fd])
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(ready_fd)
        if self._ready_fd is not None:
            os.close(self._ready_fd)
        self._ready_fd = read_end
        return process

    def readiness(self) -> Readiness:
        """Ready when the broker has said so: it writes its port as a line to the descriptor it was given."""
        if self._ready_fd is None:
            return Readiness.READY
        try:
            line = os.read(self._ready_fd, 16)
        except BlockingIOError:
            return Readiness.NOT_YET
        if not line:  # it ended without a word; the process tells the rest
            return Readiness.NOT_YET
        os.close(self._ready_fd)
        self._ready_fd = None
        return Readiness.READY
