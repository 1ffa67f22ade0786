"""The Kafka servers that the contract tests run against, each reached only through its bootstrap address."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stormline.embedded.kafka

_SOURCE = Path(stormline.embedded.kafka.__file__).parents[3]
WAIT_S = 20


class EmbeddedKafka:
    """The development broker as a process of its own, on a directory that outlives it."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._errors = (directory / "stderr.txt").open("a+")
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stormline.embedded.kafka"]
            + ["--directory", str(directory), "--port", str(port), "--ready-fd", str(write_end)],
            stderr=self._errors,
            pass_fds=[write_end],
            env=os.environ | {"PYTHONPATH": str(_SOURCE)},
        )
        os.close(write_end)
        is_ready, _, _ = select.select([read_end], [], [], WAIT_S)
        self.port = int(os.read(read_end, 20) or 0) if is_ready else 0  # 0: it ended without listening
        os.close(read_end)
        self.bootstrap = f"127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and give the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        self._errors.flush()
        return status


@pytest.fixture(scope="module", params=["embedded"])
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a running Kafka with no topics of ours."""
    server = EmbeddedKafka(tmp_path_factory.mktemp("kafka"))
    yield server.bootstrap
    assert server.end() == 0
    assert "Traceback" not in server.stderr, server.stderr
