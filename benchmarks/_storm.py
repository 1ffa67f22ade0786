"""A Storm cluster for one benchmark: free ports, a scratch directory, the jars of the project's own cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stormline.cluster import deploy, nimbus, processes
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST, free_port

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = "bench"
LIMIT_S, LOOK_EVERY_S = 120.0, 0.05
TICKS = os.sysconf("SC_CLK_TCK")


class Storm:
    """A cluster that is up, and the topologies on it."""

    def __init__(self, directory: Path, cluster: Cluster, settings: Settings) -> None:
        self.directory = directory
        """For whatever the benchmark writes; it goes when the cluster goes."""
        self.kafka = f"{HOST}:{settings.kafka_port}"
        self.redis_url = f"redis://{HOST}:{settings.redis_port}/0"
        self.nimbus_port = settings.nimbus_port
        self._cluster = cluster

    def make_project(self, root: Path) -> None:
        """So that `sparse` in this directory submits to this cluster."""
        env = {"nimbus": f"{HOST}:{self.nimbus_port}", "kafka": self.kafka, "redis": self.redis_url}
        env |= {"use_ssh_for_nimbus": False, "use_virtualenv": False, "workers": ["localhost"]}
        root.mkdir(parents=True, exist_ok=True)
        (root / "config.json").write_text(json.dumps({"envs": {ENVIRONMENT: env}}))
        wheels = ROOT / ".stormline" / "wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        (root / ".stormline").mkdir(exist_ok=True)
        (root / ".stormline" / "wheels").symlink_to(wheels)

    def submit(self, project: Path, topology: str, app: str, *more: str) -> None:
        """`sparse submit` in that project."""
        command = [sys.executable, "-P", "-m", "stormline.cli", "--project", str(project), "submit"]
        command += ["-n", topology, "-N", app, "-e", ENVIRONMENT, *more]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"{' '.join(command)}:\n{ended.stdout}{ended.stderr}")

    def kill(self, app: str) -> None:
        """And wait until its processes have gone."""
        with nimbus.connect(HOST, self.nimbus_port) as client:
            deploy.end(client, app, 0)
        self.wait(lambda: not self.processes(app), f"the processes of {app} do not end")

    def wait(self, condition: Callable[[], Any], fault: str) -> None:
        """Ends the benchmark, with the ends of the workers' logs, if it takes too long."""
        end = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end:
                logs = self._cluster.worker_logs.glob("*/*/worker.log")
                tails = "\n".join(f"{log}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)
                sys.exit(f"{fault}, for {LIMIT_S:.0f} s\n{tails}")
            time.sleep(LOOK_EVERY_S)

    def acked(self, app: str, spout: str) -> tuple[int, int]:
        """(acked tuples of a spout of one executor since its start, its age in s when it said so): both from the same
        heartbeat.

        Heartbeats come late when both cores are busy, so the clock here says nothing about the count. Storm counts each
        tuple, since topology.stats.sample.rate is 1 on this cluster.
        """
        with nimbus.connect(HOST, self.nimbus_port) as client:
            found = deploy.running(client, app)
            executors = client.getTopologyInfo(found.id).executors if found is not None else []
        for each in executors:
            if each.component_id == spout and each.stats:
                return each.stats.specific.spout.acked.get(":all-time", {}).get("default", 0), each.uptime_secs
        return 0, 0

    def processes(self, app: str) -> list[processes.Process]:
        """JVMs, log writers and components of a topology."""
        workers = [worker.pid for worker in self._cluster.status().workers if worker.name.startswith(f"{app}-")]
        return [
            each
            for each in processes.left(self._cluster.storm_home)
            if each.pid in workers or each.parent in workers or any(f"{app}-" in word for word in each.command)
        ]

    def server_pids(self) -> list[int]:
        """Kafka and Redis."""
        return [part.pid for part in self._cluster.status().parts if part.pid and part.name in ("Kafka", "Redis")]


def kind_of(process: processes.Process) -> str:
    """worker JVM, log writer, or the class of the component."""
    if "org.apache.storm.LogWriter" in process.command:
        return "log writer"
    component = re.search(r"\b(?:spouts?|bolts?)\.(?:\w+\.)*(\w+)", process.command[-1])
    return component[1] if component else "worker JVM"


def cpu_s(those: list[processes.Process]) -> dict[str, float]:
    """Kind -> seconds of CPU so far."""
    found: dict[str, float] = {}
    for process in those:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        kind = kind_of(process)
        found[kind] = found.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS
    return found


@contextmanager
def started() -> Iterator[Storm]:
    """It ends with the block, also when this process is asked to end."""
    taken: list[int] = []
    while len(taken) < 10:
        taken.append(free_port(avoid=taken))
    settings = Settings()._replace(worker_ports=tuple(taken[6:]))
    keys = [key for key in settings._fields if key.endswith("_port")]
    settings = settings._replace(**dict(zip(keys, taken, strict=False)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster must not stay behind
    with tempfile.TemporaryDirectory(prefix="storm-") as scratch:
        cluster = Cluster(Path(scratch) / "cluster", ROOT / ".stormline" / "jars", settings)
        try:
            cluster.up(lambda line: print(line, file=sys.stderr))
            yield Storm(Path(scratch), cluster, settings)
        finally:
            cluster.down()
