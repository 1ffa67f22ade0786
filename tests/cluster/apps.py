"""The project's topologies on a real cluster: a copy of the project, its feed, what is in Redis, and whose processes
are whose."""

from __future__ import annotations

import csv
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cluster.conftest import JARS, PATIENCE, PATIENCE_MS
from cluster.test_cluster import until
from faults.conftest import Project
from oracle import purchases

from stormline.cli.rows import json_line
from stormline.cluster import nimbus, processes
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.connectors.brokers import Brokers
from stormline.connectors.feed import Feed
from stormline.connectors.feed_file import Content, CsvFile, FedRow, epoch_ms
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.redis import connect, set_ends
from stormline.connectors.redis_commands import app_key
from stormline.connectors.results import Results
from stormline.embedded.ports import HOST

WHEELS = JARS.with_name("wheels")
"""Fetched once, as the jars are."""
TOPIC = "purchases"
PARTITIONS = 4
YEARS = 2
"""So many calendar years the file covers."""


class Repeated(NamedTuple):
    """The file of purchases several times, each time two years later: as much load as a test needs, and each time has
    windows of its own."""

    file: CsvFile
    times: int

    def content(self) -> Content:
        once = self.file.content()

        def rows() -> Iterator[FedRow]:
            for number in range(self.times):
                for row in once.rows():
                    value = json.loads(row.value)
                    day = later(value["date"], number)
                    text = row.value.replace(value["date"].encode(), day.encode())
                    yield FedRow(row.number + number * once.total, row.key, text, epoch_ms(day))

        return Content(once.total * self.times, rows)


def later(day: str, number: int) -> str:
    """A date, or a time, in that repetition of the purchases."""
    return f"{int(day[:4]) + YEARS * number}{day[4:]}"


def fewer(file: Path) -> Path:
    """Writes a third of the purchases to `file`, of a hundred customers: enough to be under way for a while, and few
    results to compare."""
    with gzip.open(purchases.FILE, "rt", newline="") as rows, gzip.open(file, "wt", newline="") as kept:
        out = csv.writer(kept)
        first, *others = csv.reader(rows)
        out.writerow(first)
        out.writerows([day, amount, int(user) % 100, items] for day, amount, user, items in others[::3])
    return file


def expected(file: Path, *numbers: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of these repetitions by the oracle, once all of their windows are closed."""
    once = purchases.rows(file)
    return {name: [row for number in numbers for row in _later(once, number)[name]] for name in once}


def _later(once: dict[str, list[dict[str, Any]]], number: int) -> dict[str, list[dict[str, Any]]]:
    found = {name: [dict(row) for row in rows] for name, rows in once.items()}
    for row in (row for rows in found.values() for row in rows):
        row |= {name: later(row[name], number) for name in ("start", "end", "latest") if name in row}
    for row in found["daily"]:  # there are leap days among them
        row["end"] = f"{date.fromisoformat(row['start'][:10]) + timedelta(days=1)}T00:00:00Z"
    return found


def stateless(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Without what becomes of a window later: the last ones stay open until a later record has come."""
    return {name: [{**row, "state": None} for row in found] for name, found in rows.items()}


class App:
    """A topology of a copy of the project under the name `name`, on the cluster of these settings."""

    def __init__(self, root: Path, settings: Settings, name: str) -> None:
        root.mkdir(exist_ok=True)
        WHEELS.mkdir(exist_ok=True)
        self.name = name
        self.settings = settings
        self.project = Project(root)
        self.kafka = f"{HOST}:{settings.kafka_port}"
        self.redis = f"redis://{HOST}:{settings.redis_port}/0"
        path = root / "config.json"
        content = json.loads(path.read_text())
        content["envs"]["cluster"] |= {
            "nimbus": f"{HOST}:{settings.nimbus_port}",
            "kafka": self.kafka,
            "redis": self.redis,
        }
        path.write_text(json.dumps(content))
        self.client = connect(self.redis)
        (root / ".stormline").mkdir()
        (root / ".stormline" / "wheels").symlink_to(WHEELS)

    def set_parallelism(self, tasks: int, topology: str = "purchases") -> None:
        """Each component of the topology gets so many tasks, in its file."""
        path = self.project.root / "topologies" / f"{topology}.py"
        without = re.sub(r",? ?par=\d+", "", path.read_text())
        with_inputs = re.sub(r"(inputs=\[\w+\])\)", rf"\1, par={tasks})", without)
        path.write_text(with_inputs.replace(".spec()", f".spec(par={tasks})"))

    def submit(self, *flags: str, topology: str = "purchases", **options: Any) -> None:
        """`sparse submit`; `options`: settings of Storm's or ours, under names with "__" for dots."""
        given = [f"-o{key.replace('__', '.')}={json.dumps(value)}" for key, value in options.items()]
        names = ["-n", topology] if self.name == topology else ["-n", topology, "-N", self.name]
        said = self.sparse("submit", *names, *given, *flags, *PATIENCE)
        assert 0 == said.returncode, said.stdout + said.stderr

    def sparse(self, *args: str, within_s: float = 300) -> subprocess.CompletedProcess[str]:
        """A verb of the command line, in the environment `cluster`."""
        return self.project.sparse(*args, "-e", "cluster", within_s=within_s)

    def kill(self) -> None:
        """Returns when it is in the cluster's list no more."""
        with nimbus.connect(HOST, self.settings.nimbus_port, PATIENCE_MS) as client:
            nimbus.kill(client, self.name)
            until(lambda: self.name not in [each.name for each in client.getClusterInfo().topologies])

    # Kafka

    def feed(self, times: int = 1, *, file: Path = purchases.FILE, topic: str) -> dict[int, int]:
        """So many repetitions of the file are in the topic afterwards; partition -> log end."""
        source: Any = Repeated(CsvFile(file, "user_id", "date"), times)
        return dict(Feed(Brokers(self.kafka), FeedSettings(topic, source, PARTITIONS)).run().ends)

    def read_from(self, topic: str) -> None:
        """The spout's topic."""
        path = self.project.root / "src" / "spouts" / "purchases.py"
        path.write_text(path.read_text().replace(f'topic = "{TOPIC}"', f'topic = "{topic}"'))

    def ends_at(self, topic: str, ends: dict[int, int]) -> None:
        """The input is bounded, and ends there."""
        set_ends(self.client, self.name, topic, ends)

    # Redis

    def committed(self) -> int:
        """Records that are counted for good: everything below the offsets in Redis."""
        return sum(int(offset) for offset in self.client.hvals(app_key(self.name, "commits")))

    def rows(self, *numbers: int) -> dict[str, list[dict[str, Any]]]:
        """Component -> its rows in the windows of these repetitions, as `sparse results --json` shows them."""
        years = {later(year, number) for year in ("1997", "1998") for number in numbers}
        results = Results(self.client, self.name)
        found: dict[str, list[dict[str, Any]]] = {}
        for component in ("monthly", "daily", "alerts"):
            rows = (json.loads(json_line(row)) for row in results.rows(component))
            found[component] = [row for row in rows if row["start"][:4] in years]
        return found

    def late(self) -> int:
        return sum(Results(self.client, self.name).late(component)[0] for component in ("monthly", "daily", "alerts"))


def components(cluster: Cluster, app: str, kind: str) -> list[int]:
    """The pids of an app's Python processes; `kind`: "spout" or "bolt"."""
    workers = {worker.pid for worker in cluster.status().workers if worker.name.startswith(f"{app}-")}
    return sorted(
        process.pid
        for process in processes.left(cluster.storm_home)
        if process.parent in workers and any(f"{kind}s." in word for word in process.command)
    )
