"""The development cluster: up, down, status, on a real one."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster.conftest import JARS, PATIENCE_MS, ROOT, free_settings, require_java_and_maven
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stormline.cluster import nimbus, processes
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.core.errors import ServerError, SettingsError
from stormline.embedded.ports import HOST, is_taken

# The first start of all fetches the jars.
pytestmark = pytest.mark.timeout(600)
WORDS = "word_count"
PAUSE = threading.Event()  # never set: between two looks the cores are the cluster's


def until(condition: Callable[[], Any], limit_s: float = 150) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not there after {limit_s} s"
        PAUSE.wait(0.05)


def until_fetched(cluster: Cluster, topology: str) -> None:
    """Until the topology has a worker. One that is killed while it is still fetched ends the Supervisor of Storm 2.8.3,
    which does not find what it was about to read."""
    until(lambda: any(worker.name.startswith(f"{topology}-") for worker in cluster.status().workers), limit_s=150)


def states(cluster: Cluster) -> dict[str, str]:
    return {line.name: line.state for line in cluster.status().parts}


def pids(cluster: Cluster) -> dict[str, int | None]:
    return {line.name: line.pid for line in cluster.status().parts}


def listening(ports: set[int]) -> dict[int, set[str]]:
    """Port -> the addresses on which it is listened to (hexadecimal, as the kernel writes them)."""
    found: dict[int, set[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            address, state = row.split()[1], row.split()[3]
            host, _, port = address.partition(":")
            if state == "0A" and int(port, 16) in ports:
                found.setdefault(int(port, 16), set()).add(host)
    return found


def redis_of(settings: Settings) -> redis.Redis:
    return redis.Redis(port=settings.redis_port, decode_responses=True)


def topologies(settings: Settings) -> list[str]:
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        return [each.name for each in client.getClusterInfo().topologies]


def run_words(settings: Settings, jar: Path) -> None:
    """The stock word count of the benchmarks runs and acks, one word at a time so that it leaves the cores alone."""
    if WORDS not in topologies(settings):
        submit_words(settings, jar)
    until(lambda: acked(settings) > 0)


def submit_words(settings: Settings, jar: Path) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from word_count.topology import WordCount
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    with zipfile.ZipFile(jar, "w") as content:
        for name in ("spout", "bolt"):
            source = ROOT / "benchmarks" / "word_count" / f"{name}.py"
            content.write(source, f"resources/word_count/{name}.py")
    conf = {"topology.max.spout.pending": 1, "topology.workers": 1}
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        nimbus.submit(client, WORDS, nimbus.upload(client, jar), WordCount.thrift_topology, conf)


def acked(settings: Settings) -> int:
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        ids = [each.id for each in client.getClusterInfo().topologies if each.name == WORDS]
        executors = client.getTopologyInfo(ids[0]).executors if ids else []
        spouts = [each.stats.specific.spout for each in executors if each.stats and each.component_id == "words"]
    return sum(each.acked.get(":all-time", {}).get("default", 0) for each in spouts)


def test_up_starts_five_programs_that_answer_with_their_logs(cluster: Cluster) -> None:
    """ZooKeeper, Nimbus, Supervisor, Kafka and Redis run, each with a pid, memory and a log that exists."""
    lines = cluster.status().parts
    assert ["ZooKeeper", "Nimbus", "Supervisor", "Kafka", "Redis"] == [line.name for line in lines]
    assert {"running"} == {line.state for line in lines}
    assert all(line.memory_kb > 1000 and line.log.stat().st_size > 0 for line in lines)


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    """A second `up` leaves every process as it is and says so by starting none."""
    before = pids(cluster)
    told: list[str] = []
    cluster.up(told.append)
    assert before == pids(cluster)
    assert [] == [line for line in told if "started" in line]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel's table of sockets is Linux's")
def test_a_topology_runs_and_nothing_of_it_listens_beyond_loopback(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """With a worker running, every port of the cluster, the worker's too, is listened to on 127.0.0.1 alone."""
    run_words(settings, tmp_path / "words.jar")
    (worker,) = cluster.status().workers
    assert worker.name.startswith(f"{WORDS}-")
    assert worker.log.exists()
    wanted = {port for key, port in settings.ports() if key != "worker_ports"} | {worker.port}
    found = listening(wanted)
    assert wanted == set(found)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {} == {port: hosts for port, hosts in found.items() if not hosts <= loopback}


def test_a_crashed_part_is_shown_and_up_starts_it_again_with_its_data(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """Three killed parts have ended; `up` starts only them. What Redis acked is there, the worker lives on."""
    killed = {"Nimbus", "Supervisor", "Redis"}
    run_words(settings, tmp_path / "words.jar")
    redis_of(settings).set("crash", "survived")
    before, workers = pids(cluster), [worker.pid for worker in cluster.status().workers]
    for name in killed:
        os.kill(before[name] or 0, signal.SIGKILL)
    until(lambda: killed == {name for name, state in states(cluster).items() if state == "ended"})
    told: list[str] = []
    cluster.up(told.append)
    after = pids(cluster)
    restarts = [line for line in told if "started" in line]
    assert {f"{name} ended and is started again" for name in killed} == set(restarts)
    assert killed == {name for name in after if after[name] != before[name]}
    assert "survived" == redis_of(settings).get("crash")
    assert workers == [worker.pid for worker in cluster.status().workers] != []
    before_acks = acked(settings)
    until(lambda: acked(settings) > before_acks)
    assert workers == [worker.pid for worker in cluster.status().workers]


def test_a_part_that_hangs_is_shown_as_silent(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis stopped by SIGSTOP has its process but does not answer, which `up` tells; continued, it runs."""
    monkeypatch.setattr("stormline.cluster.cluster.START_LIMIT_S", 2.0)
    pid = pids(cluster)["Redis"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "silent" == states(cluster)["Redis"]
        with pytest.raises(ServerError, match="Redis does not answer after 2 s"):
            cluster.up()
        assert pid == pids(cluster)["Redis"]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "running" == states(cluster)["Redis"]


def test_data_and_topologies_survive_down_which_leaves_no_process(
    cluster: Cluster, settings: Settings, tmp_path: Path
) -> None:
    """After `down`, with its Supervisor killed before, no port is taken and no worker lives; after `up` all is back."""
    run_words(settings, tmp_path / "words.jar")
    until(lambda: cluster.status().workers)
    redis_of(settings).set("down", "survived")
    producer = KafkaProducer(bootstrap_servers=f"{HOST}:{settings.kafka_port}")
    producer.send("survivors", b"record").get(30)
    producer.close()
    os.kill(pids(cluster)["Supervisor"] or 0, signal.SIGKILL)
    until(lambda: states(cluster)["Supervisor"] == "ended")
    assert processes.left(cluster.storm_home)

    cluster.down()

    assert {"stopped"} == set(states(cluster).values())
    assert [] == processes.left(cluster.storm_home)
    assert [] == [port for _, port in settings.ports() if is_taken(port)]
    cluster.up()
    assert "survived" == redis_of(settings).get("down")
    consumer = KafkaConsumer(bootstrap_servers=f"{HOST}:{settings.kafka_port}")
    partition = TopicPartition("survivors", 0)
    assert {partition: 1} == consumer.end_offsets([partition])
    consumer.close()
    assert [WORDS] == topologies(settings)
    until(lambda: cluster.status().workers)
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        nimbus.kill(client, WORDS)
    until(lambda: not topologies(settings))


def test_taken_ports_are_named_with_their_owner_and_nothing_is_started(tmp_path: Path) -> None:
    """Two ports held by this process are told in one error, by key and pid; no part runs afterwards."""
    require_java_and_maven()
    settings = free_settings()
    cluster = Cluster(tmp_path / "cluster", JARS, settings)
    with socket.create_server((HOST, settings.nimbus_port)), socket.create_server((HOST, settings.worker_ports[1])):
        with pytest.raises(SettingsError) as caught:
            cluster.up()
        assert {"stopped"} == {line.state for line in cluster.status().parts}
    assert 2 == len(caught.value.faults)
    for fault, key, port in zip(
        caught.value.faults,
        ("nimbus_port", "worker_ports"),
        (settings.nimbus_port, settings.worker_ports[1]),
        strict=True,
    ):
        assert f'"{key}": {port}' in fault
        assert f"process {os.getpid()} listens on it" in fault


def test_a_version_that_maven_does_not_find_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The error names Storm's version and what Maven said; no half folder is taken for a whole one later."""
    require_java_and_maven()
    settings = free_settings()._replace(storm_version="2.8.3000")
    with pytest.raises(ServerError, match=r"jars of Storm 2\.8\.3000(.|\n)*\[ERROR\]"):
        Cluster(tmp_path / "cluster", tmp_path / "jars", settings).up()
    assert [] == [path for path in (tmp_path / "jars").rglob("*") if path.is_file()]
