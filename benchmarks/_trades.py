"""The trades job from a full Kafka into Redis, run in other processes and timed from outside; results are verified.

Time runs from the moment a side is ready to consume (started, imported, connected to Redis) until the offsets that it
has committed to Kafka reach the end of the topic: both sides commit what is in Redis once a second. So neither process
start nor imports count, and both sides are seen with the same grain of a second. CPU is that of the same time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, TopicPartition

from stormline.connectors.brokers import Brokers
from stormline.connectors.feed import Feed
from stormline.connectors.feed_program import Program
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.redis import app_key, clear, connect
from stormline.connectors.results import Results
from stormline.embedded.servers import EmbeddedServers

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from oracle import trades as oracle  # noqa: E402

TOPIC, SEED, PARTITIONS = "trades", 7, 4
ENVIRONMENT = "bench"
LIMIT_S, LOOK_EVERY_S = 300.0, 0.01
TICKS = os.sysconf("SC_CLK_TCK")

Expected = dict[tuple[int, int], oracle.Hour]


class Measured(NamedTuple):
    records_per_s: float
    cpu_s_per_million: float
    """Of the job's own processes."""
    all_cpu_s_per_million: float
    """With both servers."""


def told(measured: Measured) -> str:
    own, every = measured.cpu_s_per_million, measured.all_cpu_s_per_million
    return f"{measured.records_per_s:,.0f} records/s, {own:.1f} s of CPU a million ({every:.1f} with servers)"


class Bench:
    """Servers with the trades in Kafka, and what must come out."""

    def __init__(
        self, directory: Path, kafka: str, redis_url: str, server_pids: Callable[[], Sequence[int]], records: int
    ) -> None:
        self.directory = directory
        self.kafka = kafka
        self.redis_url = redis_url
        self.server_pids = server_pids
        self.records = records
        self._number = 0
        source = Program(ROOT / "data" / "trades.py", records, SEED)
        self.ends = Feed(Brokers(kafka), FeedSettings(TOPIC, source, PARTITIONS)).run().ends
        self._expected = oracle.hours(value for _, value, _ in oracle.generated(records, SEED))
        self.client = connect(redis_url)
        self.project = self._project()

    def ours(self, flags: Sequence[str], settings: dict[str, Any]) -> Measured:
        """`sparse run` with these flags, in an environment with these settings besides the servers."""
        app = self.new_app()
        servers = {"kafka": self.kafka, "redis": self.redis_url}
        envs = {ENVIRONMENT: servers | settings}
        (self.project / "config.json").write_text(json.dumps({"main": "hourly_trades", "envs": envs}))
        command = [sys.executable, "-P", "-m", "stormline.cli", "--project", str(self.project)]
        command += ["run", "-n", app, "-e", ENVIRONMENT, *flags]

        def ready(process: subprocess.Popen[bytes]) -> bool:
            return self.client.get(app_key(app, "run")) is not None

        measured = self._measure(command, app, ready)
        self.verify_and_clear(app)
        return measured

    def verify_and_clear(self, app: str) -> None:
        """The results of our topology under this name are to the digit those of the oracle, or the benchmark ends."""
        rows = Results(self.client, app).rows("hourly")
        self._verify((((row.start_ms, row.key), row.values) for row in rows), exact=True)
        clear(self.client, app)

    def expert(self) -> Measured:
        """The loop of `_expert.py`."""
        group = self.new_app()
        command = [sys.executable, str(ROOT / "benchmarks" / "_expert.py")]

        def ready(process: subprocess.Popen[bytes]) -> bool:
            assert process.stdout is not None
            return process.stdout.readline() == b"consuming\n"

        def found() -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
            for key in self.client.scan_iter(match=f"{group}:*", count=1000):
                hour = int(key.rpartition(b":")[2])
                for user, values in self.client.hgetall(key).items():
                    yield (hour * oracle.HOUR_MS, int(user)), json.loads(values)

        measured = self._measure([*command, self.kafka, self.redis_url, group], group, ready)
        self._verify(found(), exact=False)
        self.client.delete(*self.client.scan_iter(match=f"{group}:*", count=1000))
        return measured

    def _measure(
        self, command: Sequence[str], group: str, ready: Callable[[subprocess.Popen[bytes]], bool]
    ) -> Measured:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        log = self.directory / f"{group}.log"
        with log.open("wb") as errors, committed_offsets(self.kafka, group) as committed:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE if "_expert" in command[1] else errors,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
            try:
                give_up = time.monotonic() + LIMIT_S

                def wait(condition: Callable[[], bool]) -> None:
                    while not condition():
                        if process.poll() is not None or time.monotonic() > give_up:
                            sys.exit(f"{' '.join(command)} did not come to its end:\n{log.read_text()}")
                        time.sleep(LOOK_EVERY_S)

                wait(lambda: ready(process))
                began, own, servers = time.monotonic(), cpu_s(family(process.pid)), cpu_s(self.server_pids())
                wait(lambda: committed() == self.ends)
                took = time.monotonic() - began
                own, servers = cpu_s(family(process.pid)) - own, cpu_s(self.server_pids()) - servers
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        millions = self.records / 1e6
        return Measured(self.records / took, own / millions, (own + servers) / millions)

    def _verify(self, found: Iterator[tuple[tuple[int, int], dict[str, Any]]], *, exact: bool) -> None:
        """All results; `exact`: to the last digit."""
        rows = dict(found)
        if rows.keys() != self._expected.keys():
            sys.exit(f"{len(rows)} results, the oracle has {len(self._expected)}")
        for at, hour in self._expected.items():
            expected: Any = oracle.shown(hour)
            row: Any = rows[at]
            same = row == expected
            if not exact:  # floats: a thousandth of a cent is the same
                same = row.keys() == expected.keys() and all(
                    abs(row[name] - float(expected[name])) < 1e-5 for name in row
                )
            if not same:
                sys.exit(f"{at} is {row}, the oracle says {expected}")

    def new_app(self) -> str:
        self._number += 1
        return f"job{self._number}"

    def _project(self) -> Path:
        project = self.directory / "project"
        (project / "topologies").mkdir(parents=True)
        shutil.copy(ROOT / "topologies" / "hourly_trades.py", project / "topologies")
        for folder in ("spouts", "bolts"):
            shutil.copytree(ROOT / "src" / folder, project / "src" / folder)
        return project

    def _server_pids(self) -> list[int]:
        content = json.loads((self.directory / "servers" / "servers.json").read_text())
        groups = {server["group"] for server in content.values() if isinstance(server, dict)}
        return [pid for pid, stat in stats().items() if stat.group in groups]


@contextmanager
def filled(records: int) -> Iterator[Bench]:
    """Embedded servers in a scratch directory, the topic fed."""
    with (
        tempfile.TemporaryDirectory(prefix="trades-") as scratch,
        EmbeddedServers.start(Path(scratch) / "servers") as servers,
    ):

        def server_pids() -> list[int]:
            content = json.loads((Path(scratch) / "servers" / "servers.json").read_text())
            groups = {server["group"] for server in content.values() if isinstance(server, dict)}
            return [pid for pid, stat in stats().items() if stat.group in groups]

        yield Bench(Path(scratch), servers.kafka, servers.redis_url, server_pids, records)


@contextmanager
def committed_offsets(brokers: str, group: str) -> Iterator[Callable[[], dict[int, int]]]:
    """Asks for a group's offsets, without being a member of it."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group})
    partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
    try:
        yield lambda: {each.partition: each.offset for each in consumer.committed(partitions, timeout=10)}
    finally:
        consumer.close()


class Stat(NamedTuple):
    parent: int
    group: int
    cpu_s: float


def stats() -> dict[int, Stat]:
    """Each process of this machine, from /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        found[int(path.parent.name)] = Stat(int(fields[1]), int(fields[2]), (int(fields[11]) + int(fields[12])) / TICKS)
    return found


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {child: stat.parent for child, stat in stats().items()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def cpu_s(pids: Sequence[int]) -> float:
    now = stats()
    return sum(now[pid].cpu_s for pid in pids if pid in now)
