"""Between the job and its Kafka lies a network that cuts, delays and garbles; or the broker is killed again and again.

The feed produces and the spout reads through it, with each client; in the end each record is counted once. Apache Kafka
takes some seconds to start, so there both clients are at work at once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from connectors.kafka_connector_parts import Broker
from faults.bad_network import FAULTS, BadNetwork
from faults.conftest import Project
from oracle import purchases

from stormline.connectors.brokers import CLIENTS, Brokers
from stormline.connectors.kafka import FED, ensure_topic, places
from stormline.connectors.kafka_appender import Appender
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_scripted import PRODUCE, Act, Scripted
from tests.contracts.kafka.kafka_servers import ApacheKafka

SEED = 19970701
KILLS = 10
ROWS = 69_659
RATE = 9_000
"""Rows a second: the job lasts some eight seconds, and faults meet it all along."""
SLOW_RATE = 100
"""It would last eleven minutes, longer than ten starts of Apache Kafka on a slow machine; after those it is ended."""
WAIT_S = 120
YEAR_1997_MS = 852_076_800_000
NOT_LEADER = 6


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    apache = ApacheKafka(tmp_path_factory.mktemp("apache"), is_killed=True)
    apache.wait()
    yield apache
    apache.kill()


def prepared(project: Project, address: str, client: str, topic: str = "purchases") -> Project:
    """The main job, fed while it runs, on a Kafka of its own."""
    config = json.loads((project.root / "config.json").read_text())
    feed = {topic: config["envs"]["embedded"]["feed"]["purchases"]}
    kafka = {"bootstrap": address, "client": client}
    config["envs"] = {"embedded": {"kafka": kafka, "redis": "embedded", "feed": feed}}
    (project.root / "config.json").write_text(json.dumps(config))
    spout = project.root / "src" / "spouts" / "purchases.py"
    spout.write_text(spout.read_text().replace('topic = "purchases"', f'topic = "{topic}"'))
    return project


def until_it_runs(run: subprocess.Popen[str]) -> str:
    """Until it shows what it does; what it has said. A run that cannot even begin says so and ends."""
    assert run.stdout is not None
    seen = ""
    for line in run.stdout:
        seen += line
        if line.startswith("after"):
            break
    return seen


def equals_the_file(project: Project, what: str) -> None:
    for component, rows in purchases.rows().items():
        found = project.sparse("results", component, "--json")
        assert rows == purchases.parsed(found.stdout), f"{component} differs; {what}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_network_that_cuts_delays_and_garbles_changes_no_result(
    project: Project, broker: Broker, client: str
) -> None:
    """
    Every kind of fault is met, dozens in all; what was produced and what was counted are the same.
    """
    network = BadNetwork(broker.port, seed=SEED, every=12, marker=b'"amount"')
    try:
        run = prepared(project, network.address, client).start("run", "--rate", str(RATE))
        until_it_runs(run)
        network.begin()
        said, _ = run.communicate(timeout=500)
    finally:
        network.close()
    assert 0 == run.returncode, f"seed {SEED}: {said}"
    assert set(FAULTS) == network.met.keys(), f"seed {SEED}: {network.met}"
    assert network.met.total() >= 20, f"seed {SEED}: {network.met}"
    equals_the_file(project, f"seed {SEED}, {network.met}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_that_is_killed_ten_times_changes_no_result(project: Project, broker: Broker, client: str) -> None:
    """
    SIGKILL, and a start half a second or so later, while records are fed and read.
    """
    chance = Random(SEED)
    run = prepared(project, broker.address, client).start("run", "--rate", str(RATE))
    try:
        seen = until_it_runs(run)
        for _ in range(KILLS):
            with pytest.raises(subprocess.TimeoutExpired):  # the job must not end before its broker has died so often
                run.wait(chance.uniform(0.2, 0.7))
            broker.kill()
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(chance.uniform(0.0, 0.8))
            broker.start()
        rest, _ = run.communicate(timeout=500)
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
    assert 0 == run.returncode, f"seed {SEED}: {seen}{rest}"
    equals_the_file(project, f"seed {SEED}")


@pytest.mark.timeout(600)
def test_a_bad_network_before_apache_kafka_changes_no_result(tmp_path: Path, apache: ApacheKafka) -> None:
    """
    Every kind of fault is met by each client, dozens in all.
    """
    networks = {
        client: BadNetwork(apache.port, seed=SEED + number, every=12, marker=b'"amount"')
        for number, client in enumerate(CLIENTS)
    }
    projects = {
        client: prepared(Project(tmp_path / client), network.address, client, client)
        for client, network in networks.items()
    }
    said = {}
    try:
        runs = {client: project.start("run", "--rate", str(RATE)) for client, project in projects.items()}
        for client, run in runs.items():
            until_it_runs(run)
            networks[client].begin()
        for client, run in runs.items():
            said[client], _ = run.communicate(timeout=500)
    finally:
        for network in networks.values():
            network.close()
    for client, run in runs.items():
        met = networks[client].met
        assert 0 == run.returncode, f"{client}, seed {SEED}: {said[client]}"
        assert set(FAULTS) == met.keys(), f"{client}, seed {SEED}: {met}"
        assert met.total() >= 20, f"{client}, seed {SEED}: {met}"
        equals_the_file(projects[client], f"{client}, seed {SEED}, {met}")


@pytest.mark.timeout(600)
def test_apache_kafka_that_is_killed_ten_times_changes_no_result(tmp_path: Path, apache: ApacheKafka) -> None:
    """
    SIGKILL while records are fed and read; in each of its lives some of both clients are counted and committed.
    """
    chance = Random(SEED)
    topics = {client: f"killed-{client}" for client in CLIENTS}
    projects = {
        client: prepared(Project(tmp_path / client), apache.bootstrap, client, topic)
        for client, topic in topics.items()
    }
    runs = {
        client: project.start(
            "run", "--inline", "--rate", str(SLOW_RATE), output=(tmp_path / f"{client}.txt").open("w")
        )
        for client, project in projects.items()
    }
    try:
        for number in range(KILLS + 1):
            before = {topic: committed(apache, topic) for topic in topics.values()}
            for client, topic in topics.items():
                run, deadline = runs[client], time.monotonic() + WAIT_S
                while committed(apache, topic) == before[topic]:
                    assert run.poll() is None, (
                        f"{number} kills, seed {SEED}: {(tmp_path / f'{client}.txt').read_text()}"
                    )
                    assert time.monotonic() < deadline, f"{client} stands still after {number} kills, seed {SEED}"
            if number < KILLS:
                with pytest.raises(subprocess.TimeoutExpired):
                    run.wait(chance.uniform(0.0, 0.5))
                apache.kill()
                apache.start()
                apache.wait()
        for run in runs.values():
            run.terminate()
            run.wait(WAIT_S)
    finally:
        for run in runs.values():
            run.kill()
    for client, project in projects.items():
        said = (tmp_path / f"{client}.txt").read_text()
        assert 0 == runs[client].returncode, f"{client}, seed {SEED}: {said}"
        last = project.sparse("run")
        assert 0 == last.returncode, f"{client}, seed {SEED}: {said}{last.stdout}{last.stderr}"
        equals_the_file(project, f"{client}, seed {SEED}")
        assert ROWS == log_end(apache, topics[client]) == committed(apache, topics[client])


def test_what_came_before_apache_kafka_died_is_not_fed_again(apache: ApacheKafka) -> None:
    """
    It has a batch, its answer is lost, and it comes back: what it knew of the producer of records that old it has
    forgotten, and would take the batch a second time.
    """
    ensure_topic(Brokers(apache.bootstrap), "fed", 1, configs=FED)
    scripted = Scripted(apache.bootstrap)
    appender = Appender(Brokers(scripted.bootstrap), "fed", {0: 0}, header=b"row")
    try:
        appender.append(0, [(YEAR_1997_MS, None, b"first", b"1")])
        appender.finish()
        scripted.script = [Act(PRODUCE, "lose"), *[Act(PRODUCE, NOT_LEADER)] * 1000]
        appender.append(0, [(YEAR_1997_MS, None, b"second", b"2")])
        wait_until(lambda: log_end(apache, "fed") == 2)
        apache.kill()
        apache.start()
        apache.wait()
        scripted.script = []
        appender.finish()
    finally:
        appender.close()
        scripted.close()
    assert 2 == log_end(apache, "fed")


def log_end(apache: ApacheKafka, topic: str) -> int:
    """How many records were fed: offsets of all partitions together, as are those of `committed`."""
    return sum(place.end for place in places(Brokers(apache.bootstrap), "purchases", [topic]))


def committed(apache: ApacheKafka, topic: str) -> int:
    """How far the job is that reads this topic."""
    return sum(place.committed or 0 for place in places(Brokers(apache.bootstrap), "purchases", [topic]))
