"""The Kafka servers that the contract tests run against, each reached only through its bootstrap address."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from cluster.conftest import JARS, free_settings, require_java_and_maven

import stormline.embedded.kafka
from stormline.cluster import jars, needs, parts
from stormline.cluster.layout import Layout

_SOURCE = Path(stormline.embedded.kafka.__file__).parents[3]
WAIT_S = 60


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


class ApacheKafka:
    """Apache Kafka, one node, as the cluster of this project runs it; it ends with this object or the test run."""

    def __init__(self, directory: Path, *, is_killed: bool = False) -> None:
        """`is_killed`: again and again, so it has to be able to come back soon."""
        require_java_and_maven()
        java_home = needs.require()
        settings = free_settings()
        jars.fetch(JARS, settings.storm_version, settings.kafka_version, java_home, print)
        self._layout = Layout(directory, JARS, settings)
        self._layout.write()
        with (directory / "kafka.properties").open("a") as properties:
            properties.write("auto.create.topics.enable=false\n")  # as the embedded one, and as production should
            # How often is looked for transactions that are over time, 10 s by default; and partitions that are made at
            # the first transaction, 50 by default.
            properties.write("transaction.abort.timed.out.transaction.cleanup.interval.ms=300\n")
            properties.write("transaction.state.log.num.partitions=1\n")
            # The shortest session of a member, 6 s by default.
            properties.write("group.min.session.timeout.ms=100\n")
            # How often is looked for old segments, 5 minutes by default; and for what to compact, 15 s.
            properties.write("log.retention.check.interval.ms=300\nlog.initial.task.delay.ms=300\n")
            properties.write("log.cleaner.backoff.ms=100\n")
            # So long a killed broker counts as alive, and may not come back. One that is only slow for so long has no
            # leader for a moment.
            if is_killed:
                properties.write("broker.session.timeout.ms=1000\nbroker.heartbeat.interval.ms=200\n")
        subprocess.run(
            parts.format_command(self._layout, java_home), check=True, capture_output=True, timeout=WAIT_S * 3
        )
        (self._part,) = (part for part in parts.all_of(self._layout, java_home) if part.title == "Kafka")
        self._log = self._layout.logs / "kafka.log"
        self.port = settings.kafka_port
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """On its port and its data; does not wait for it."""
        environment = os.environ | {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}  # its life is short
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                self._part.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._layout.directory,
                env=environment,
            )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + WAIT_S * 3
        while not self._part.answers():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                raise AssertionError(self._log.read_text())
            assert time.monotonic() < deadline, self._log.read_text()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(WAIT_S)
