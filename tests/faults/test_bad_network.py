"""Between the job and its Kafka lies a network that cuts, delays and garbles; or the broker is killed again and again.

The feed produces and the spout reads through it, with each client; in the end each record is counted once.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from random import Random

import pytest
from connectors.kafka_connector_parts import Broker
from faults.bad_network import FAULTS, BadNetwork
from faults.conftest import Project
from oracle import purchases

from stormline.connectors.brokers import CLIENTS

SEED = 19970701
KILLS = 10
RATE = 9_000
"""Rows a second: the job lasts some eight seconds, and faults meet it all along."""


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.kill()


def job(project: Project, address: str, client: str) -> subprocess.Popen[str]:
    """The main job, fed while it runs, on a Kafka of its own."""
    config = json.loads((project.root / "config.json").read_text())
    feed = {"purchases": config["envs"]["embedded"]["feed"]["purchases"]}
    kafka = {"bootstrap": address, "client": client}
    config["envs"] = {"embedded": {"kafka": kafka, "redis": "embedded", "feed": feed}}
    (project.root / "config.json").write_text(json.dumps(config))
    return project.start("run", "--rate", str(RATE))


def equals_the_file(project: Project, what: str) -> None:
    for component, rows in purchases.rows().items():
        found = project.sparse("results", component, "--json")
        assert rows == purchases.parsed(found.stdout), f"{component} differs; {what}"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_network_that_cuts_delays_and_garbles_changes_no_result(
    project: Project, broker: Broker, client: str
) -> None:
    """
    Every kind of fault is met, dozens in all; what was produced and what was counted are the same.
    """
    network = BadNetwork(broker.port, seed=SEED, every=12, marker=b'"amount"')
    try:
        run = job(project, network.address, client)
        network.begin()
        said, _ = run.communicate(timeout=150)
    finally:
        network.close()
    assert 0 == run.returncode, f"seed {SEED}: {said}"
    assert set(FAULTS) == network.met.keys(), f"seed {SEED}: {network.met}"
    assert network.met.total() >= 20, f"seed {SEED}: {network.met}"
    equals_the_file(project, f"seed {SEED}, {network.met}")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_that_is_killed_ten_times_changes_no_result(project: Project, broker: Broker, client: str) -> None:
    """
    SIGKILL, and a start half a second or so later, while records are fed and read.
    """
    chance = Random(SEED)
    run = job(project, broker.address, client)
    try:
        assert run.stdout is not None
        seen = []
        for line in run.stdout:
            seen.append(line)
            if line.startswith("after"):
                break
        for _ in range(KILLS):
            with pytest.raises(subprocess.TimeoutExpired):  # the job must not end before its broker has died so often
                run.wait(chance.uniform(0.2, 0.7))
            broker.kill()
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(chance.uniform(0.0, 0.8))
            broker.start()
        rest, _ = run.communicate(timeout=120)
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
    assert 0 == run.returncode, f"seed {SEED}: {''.join(seen)}{rest}"
    equals_the_file(project, f"seed {SEED}")
