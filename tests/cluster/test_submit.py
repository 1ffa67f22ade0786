"""`sparse submit` on a real Storm: by one command from a project to counted records, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from cluster.conftest import PATIENCE, PATIENCE_MS, ROOT
from cluster.test_cluster import redis_of, until, until_fetched
from kafka import KafkaProducer

from stormline.cli import commands as verbs
from stormline.cli import submit, submitting
from stormline.cluster import deploy, nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import ensure_topic
from stormline.connectors.results import Results
from stormline.embedded.ports import HOST

pytestmark = pytest.mark.timeout(600)
APP = "purchases"
STOCK = ROOT / "tests" / "stock"


class Project:
    """A project with the environment `cluster`, in which `sparse` is called as its users do."""

    def __init__(self, root: Path, settings: Settings, sources: Path, **keys: Any) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        for name in ("src", "topologies"):
            (root / name).symlink_to(sources / name)
        (ROOT / ".stormline" / "wheels").mkdir(parents=True, exist_ok=True)
        (root / ".stormline").mkdir()
        (root / ".stormline" / "wheels").symlink_to(ROOT / ".stormline" / "wheels")
        environment = {
            "nimbus": f"localhost:{settings.nimbus_port}",
            "kafka": f"{HOST}:{settings.kafka_port}",
            "redis": f"redis://{HOST}:{settings.redis_port}/0",
            "workers": ["localhost"],
            **keys,
        }
        (root / "config.json").write_text(json.dumps({"envs": {"cluster": environment}}))

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "STREAMPARSE_NIMBUS"}
        return subprocess.Popen(
            [sys.executable, "-m", "stormline.cli", "--project", str(self.root), *words, *PATIENCE],
            env={**environment, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sparse(self, *words: str) -> tuple[int, str]:
        """Exit code, and what it said."""
        process = self.start(*words)
        said, _ = process.communicate(timeout=500)
        return process.returncode, said


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster, settings: Settings, bare_python: str) -> Iterator[Project]:
    """This repository's topologies, on workers that have a bare Python; nothing of the app is left behind."""
    assert cluster
    yield Project(tmp_path / "project", settings, ROOT, python=bare_python)
    if status(settings) is not None:
        until_fetched(cluster, APP)
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        deploy.end(client, APP, 0)
    redis_of(settings).flushall()


def status(settings: Settings, name: str = APP) -> str | None:
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        found = deploy.running(client, name)
        return found and found.status


def run_number(settings: Settings) -> Any:
    return redis_of(settings).get("{purchases}:run")


def buy(settings: Settings, count: int) -> None:
    """Purchases of 10.50 each, over the days of a month and ten customers."""
    brokers = f"{HOST}:{settings.kafka_port}"
    ensure_topic(Brokers(brokers), APP, 2)
    producer = KafkaProducer(bootstrap_servers=brokers)
    for number in range(count):
        bought = {"date": f"1997-01-{number % 28 + 1:02}", "amount": 10.5, "user_id": number % 10, "items": 1}
        producer.send(APP, json.dumps(bought).encode(), key=str(number % 10).encode())
    producer.flush(60)
    producer.close()


def counted(settings: Settings) -> int:
    store = redis.Redis(port=settings.redis_port)
    # By month: days would close, and what is bought later on the same days be late.
    return sum(row.values["purchases"] for row in Results(store, APP).rows("monthly"))


def test_a_submitted_topology_counts_and_its_successor_goes_on_from_there(
    project: Project, settings: Settings, tmp_path: Path
) -> None:
    """
    The workers have a Python without packages. Nothing is lost or counted twice when another version with other numbers
    replaces the running one; one that is submitted without --force is refused and shuts nobody out.
    """
    shutil.copytree(ROOT / "virtualenvs", project.root / "virtualenvs")
    (project.root / "tasks.py").write_text(
        "def pre_submit(name, environment, settings, options):\n"
        "    options['hooked.by'] = f'{name} {environment} {settings[\"workers\"]}'\n"
        "def post_submit(name, environment, settings, options):\n"
        f"    open({str(tmp_path / 'post')!r}, 'w').write(str(options['topology.workers']))\n"
    )
    buy(settings, 300)
    code, said = project.sparse("submit", "-n", APP, "--wait", "240")
    assert 0 == code, said
    assert "6 of 6 executors run" in said
    assert counted(settings) > 0
    until(lambda: counted(settings) == 300)
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        found = deploy.running(client, APP)
        assert found is not None
        conf = json.loads(client.getTopologyConf(found.id))
    assert "purchases cluster ['localhost']" == conf["hooked.by"]
    assert "1" == (tmp_path / "post").read_text()

    code, said = project.sparse("submit", "-n", APP)
    assert 1 == code
    assert f"{APP} runs on the cluster already ({found.id}, active); replace it with --force" in said
    assert "1" == run_number(settings)

    buy(settings, 200)
    code, said = project.sparse("submit", "-n", APP, "--force", "-w", "2", "-o", "topology.max.task.parallelism=2")
    assert 0 == code, said
    assert "is deactivated, and counts what is on its way" in said
    buy(settings, 100)
    until(lambda: counted(settings) == 600)
    assert ("ACTIVE", "2") == (status(settings), run_number(settings))


def test_an_interrupted_submit_leaves_the_cluster_as_it_was(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ctrl-C in the middle of the upload: no topology, no number of a run. Ctrl-C while the old one drains: it goes on,
    and its number is still the latest.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def sparse(*words: str) -> int:
        return CliRunner().invoke(verbs.sparse, ["--project", str(project.root), *words, *PATIENCE]).exit_code

    with monkeypatch.context() as patched:
        patched.setattr(submit, "_told_bytes", interrupt)
        assert verbs.INTERRUPTED == sparse("submit", "-n", APP)
    assert (None, None) == (status(settings), run_number(settings))

    assert 0 == sparse("submit", "-n", APP, "-i")
    assert "INACTIVE" == status(settings)
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        client.activate(APP)
    until(lambda: status(settings) == "ACTIVE")
    with monkeypatch.context() as patched:
        patched.setattr(submitting, "_drain", interrupt)
        assert verbs.INTERRUPTED == sparse("submit", "-n", APP, "--force")
    assert ("ACTIVE", "1") == (status(settings), run_number(settings))


def test_of_two_submits_at_once_one_wins_and_the_other_shuts_nobody_out(project: Project, settings: Settings) -> None:
    """
    One is told who was faster; the number of the run is that of the winner.
    """
    both = [project.start("submit", "-n", APP) for _ in range(2)]
    ended = [(process.communicate(timeout=500)[0], process.returncode) for process in both]

    (_, first), (said, second) = sorted(ended, key=lambda each: each[1])
    assert (0, 1) == (first, second), ended
    assert any(text in said for text in ("another submit", "runs on the cluster already"))
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        found = deploy.running(client, APP)
        assert found is not None
        assert run_number(settings) == str(json.loads(client.getTopologyConf(found.id))["stormline.run"])


def test_a_stock_topology_runs_in_a_virtualenv_of_the_workers(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """
    Of streamparse's keys: an existing virtualenv, found by its root and name; what a bolt prints breaks nothing.
    """
    assert cluster
    there = Path(sys.prefix)
    project = Project(
        tmp_path / "project",
        settings,
        STOCK,
        use_virtualenv=True,
        install_virtualenv=False,
        virtualenv_root=str(there.parent),
        virtualenv_name=there.name,
    )
    name = "stock-printing"
    try:
        code, said = project.sparse(
            *("submit", "-n", "printing", "-N", name, "-o", f"stock.notes={tmp_path}", "-o", "stock.words=20"),
            *("--wait", "240"),
        )
        assert 0 == code, said
        until(lambda: len((tmp_path / "acked").read_text().split()) == 20)
    finally:
        with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
            deploy.end(client, name, 0)
