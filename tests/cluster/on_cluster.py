"""A project whose environment is the cluster of the tests, its verbs, and a topology that they act on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from cluster import test_cluster
from cluster.conftest import PATIENCE, PATIENCE_MS, ROOT

from stormline.cli import commands
from stormline.cluster import nimbus
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST

LOCAL = {"use_ssh_for_nimbus": False, "workers": ["localhost"]}


def until(condition: Callable[[], Any]) -> None:
    """What Storm needs for it is seconds on idle cores, for a worker that starts some ten."""
    test_cluster.until(condition, limit_s=150)


class Verbs:
    """`sparse` in a project of its own."""

    def __init__(self, root: Path, settings: Settings, **env: Any) -> None:
        self.root = root
        self.settings = settings
        (root / "topologies").mkdir(exist_ok=True, parents=True)
        env = {"nimbus": f"{HOST}:{settings.nimbus_port}", **LOCAL, **env}
        (root / "config.json").write_text(json.dumps({"envs": {"embedded": {}, "prod": env}}))

    def call(self, *words: str) -> Result:
        patience = () if "--timeout" in words else PATIENCE
        return CliRunner().invoke(commands.sparse, ["--project", str(self.root), *words, *patience])

    def __call__(self, *words: str) -> str:
        """What it says on stdout; it must succeed."""
        result = self.call(*words)
        assert 0 == result.exit_code, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    @contextmanager
    def going_on(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A verb that does not end by itself, as a process with its output in a pipe."""
        command = [sys.executable, "-P", "-m", "stormline.cli", "--project", str(self.root), *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                yield process
            finally:
                process.terminate()

    def status(self, name: str) -> str | None:
        return next((each["status"] for each in self.json("list") if each["name"] == name), None)


def submit(settings: Settings, name: str, folder: Path) -> None:
    """The topology of reporting.py, two tasks of the bolt, in one worker."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from cluster.reporting import ReportingTopology
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    jar = folder / f"{name}.jar"
    with zipfile.ZipFile(jar, "w") as content:
        content.write(ROOT / "benchmarks" / "word_count" / "spout.py", "resources/word_count/spout.py")
        content.write(ROOT / "tests" / "cluster" / "reporting.py", "resources/cluster/reporting.py")
    conf = {"topology.max.spout.pending": 1, "topology.workers": 1, "topology.acker.executors": 1}
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        nimbus.submit(client, name, nimbus.upload(client, jar), ReportingTopology.thrift_topology, conf)


def kill(verbs: Verbs, name: str) -> None:
    """And wait until it has gone."""
    if verbs.status(name) is not None:
        verbs("kill", "-n", name, "--wait", "0")
    until(lambda: verbs.status(name) is None)
