"""One cluster for the whole session: it takes ten seconds to start. The jars are shared with the project's own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormline.cluster import needs
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import is_taken

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".stormline" / "jars"
PORTS = range(10_000, 20_000)
"""Not those of the embedded servers, which the tests beside these start by the hundred: a port of Storm's workers is
free most of the time, and a cluster does not start while somebody else has it."""
SECRET, PASSWORD = "PASSWORD_OF_A_TESTS_KAFKA", "correct-horse-7"
"""The Supervisor's environment has it, and so have those of its workers."""
PATIENCE_MS = 60_000
"""For an answer of Nimbus, which shares the cores with the tests."""
PATIENCE = ("--timeout", str(PATIENCE_MS))


def require_java_and_maven() -> None:
    """CI must have them; on a laptop their absence is a loud skip."""
    missing = [found.fault for found in needs.look() if found.fault]
    if sys.platform == "win32":
        missing.append("no cluster on Windows: use WSL")
    if missing and os.environ.get("CI") == "true":
        pytest.fail("\n".join(str(fault) for fault in missing))
    if missing:
        pytest.skip(f"NOT TESTED, no cluster can be started: {'; '.join(str(fault) for fault in missing)}")


def free_settings() -> Settings:
    """Every port a free one."""
    free = [port for port in random.SystemRandom().sample(PORTS, 200) if not is_taken(port)]
    zookeeper, nimbus, supervisor, kafka, controller, redis, *workers = free[:10]
    return Settings(
        zookeeper_port=zookeeper,
        nimbus_port=nimbus,
        supervisor_port=supervisor,
        worker_ports=tuple(workers),
        kafka_port=kafka,
        kafka_controller_port=controller,
        redis_port=redis,
    )


@pytest.fixture(scope="session")
def settings() -> Settings:
    return free_settings()


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[Cluster]:
    require_java_and_maven()
    cluster = Cluster(tmp_path_factory.mktemp("storm") / "cluster", JARS, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET, PASSWORD)
        try:
            cluster.up()
            yield cluster
        finally:
            cluster.down()


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    """It is up when the test begins, whatever the one before has done to it."""
    started.up()
    return started


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A python3 that has no package at all."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python3")
