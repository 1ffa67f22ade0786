"""The main job on a real Storm while things die: one app that runs on, one fault after the other.

Each fault comes while a repetition of the purchases is on its way through two workers; the repetition's results must be
those of the oracle. Which process dies, and how far the job has come then, is drawn by the seed. The last test looks at
all of it again.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from cluster.apps import App, components, expected, fewer, stateless
from cluster.conftest import PATIENCE_MS
from cluster.test_cluster import until

from stormline.cluster import nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="no cluster on Windows"),
]
SEED = int(os.environ.get("STORMLINE_SEED", "1997"))
TOPIC = "hundred"
WITHIN_S = 250
"""What a worker that died held is emitted again after 10 to 20 s, and the worker is back in 10."""
TRIES = 5
"""A repetition may be through before the fault can hit it: then the next one is fed."""


class UnderWay(NamedTuple):
    """The app of this module, and the file whose repetitions it is fed."""

    app: App
    file: Path
    random: Random
    numbers: Iterator[int]


@pytest.fixture(scope="module")
def under_way(started: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnderWay]:
    started.up()
    folder = tmp_path_factory.mktemp("faults")
    app = App(folder / "project", settings, "faults")
    app.read_from(TOPIC)
    app.set_parallelism(2)
    file = fewer(folder / "hundred.csv.gz")
    app.feed(file=file, topic=TOPIC)
    app.submit("--workers", "2")
    try:
        yield UnderWay(app, file, Random(SEED), itertools.count(1))
    finally:
        started.up()
        app.kill()


def survives(under_way: UnderWay, fault: Callable[[], object]) -> None:
    """Feed a repetition, let `fault` happen in the middle of it, and compare."""
    app, file, random, numbers = under_way
    for number in itertools.islice(numbers, TRIES):
        before = sum(app.feed(number, file=file, topic=TOPIC).values())
        until(lambda: app.committed() == before, WITHIN_S)  # noqa: B023
        end = sum(app.feed(number + 1, file=file, topic=TOPIC).values())
        hit_at = before + int((end - before) * random.uniform(0, 0.5))
        until(lambda: app.committed() >= hit_at, WITHIN_S)  # noqa: B023
        done = app.committed()
        if done < end:  # else all of it was in one commit
            break
    fault()
    print(f"seed {SEED}, repetition {number}: {done - before} of {end - before} records were counted before the fault")  # noqa: T201
    assert done < end, "the fault came too late to matter"
    until(lambda: app.committed() == end, WITHIN_S)
    assert stateless(expected(file, number)) == stateless(app.rows(number))
    assert 0 == app.late()


def kill(pids: list[int], random: Random) -> None:
    os.kill(random.choice(pids), signal.SIGKILL)


def pid_of(cluster: Cluster, part: str) -> int:
    return next(line.pid for line in cluster.status().parts if line.name == part) or 0


@pytest.mark.parametrize("kind", ["bolt", "spout"])
def test_a_killed_component(cluster: Cluster, under_way: UnderWay, kind: str) -> None:
    """
    SIGKILL of a Python process: Storm starts its worker again, nothing is lost and nothing counted twice.
    """
    until(lambda: len(components(cluster, under_way.app.name, kind)) == {"bolt": 8, "spout": 2}[kind], WITHIN_S)
    survives(under_way, lambda: kill(components(cluster, under_way.app.name, kind), under_way.random))


def test_a_killed_worker(cluster: Cluster, under_way: UnderWay) -> None:
    """
    SIGKILL of a worker's JVM: its components end with it, and the other worker's go on.
    """
    until(lambda: len(cluster.status().workers) == 2, WITHIN_S)
    survives(under_way, lambda: kill([worker.pid for worker in cluster.status().workers], under_way.random))


@pytest.mark.parametrize("part", ["Supervisor", "Nimbus"])
def test_a_killed_daemon(cluster: Cluster, under_way: UnderWay, part: str) -> None:
    """
    SIGKILL of Supervisor or Nimbus, which stays dead: the workers count on without it, and are not started again.
    """
    until(lambda: len(cluster.status().workers) == 2, WITHIN_S)
    workers = [worker.pid for worker in cluster.status().workers]
    survives(under_way, lambda: os.kill(pid_of(cluster, part), signal.SIGKILL))
    assert workers == [worker.pid for worker in cluster.status().workers]


@pytest.mark.parametrize("part", ["Redis", "Kafka"])
def test_a_killed_server(cluster: Cluster, under_way: UnderWay, part: str) -> None:
    """
    SIGKILL of Redis or Kafka, which then is started again with its data: the same processes go on.
    """

    def restart() -> None:
        os.kill(pid_of(cluster, part), signal.SIGKILL)
        until(lambda: "ended" in [line.state for line in cluster.status().parts])
        cluster.up()

    until(lambda: len(cluster.status().workers) == 2, WITHIN_S)
    workers = [worker.pid for worker in cluster.status().workers]
    survives(under_way, restart)
    assert workers == [worker.pid for worker in cluster.status().workers]


def test_a_rebalance(cluster: Cluster, under_way: UnderWay) -> None:
    """
    `sparse rebalance` to another number of workers, in full flow.
    """
    assert cluster
    app = under_way.app

    def rebalance() -> None:
        said = app.sparse("rebalance", "-n", "purchases", "-N", app.name, "-w", "1", "--workers", "3")
        assert 0 == said.returncode, said.stdout + said.stderr

    survives(under_way, rebalance)
    until(lambda: len(cluster.status().workers) == 3, WITHIN_S)


def test_a_new_version_with_another_parallelism(cluster: Cluster, under_way: UnderWay) -> None:
    """
    `sparse submit --force` with three tasks a component, in full flow: keys move to other tasks, and none of them is
    lost or counted by both versions.
    """
    app = under_way.app
    app.set_parallelism(3)
    survives(under_way, lambda: app.submit("--force", "--workers", "2"))
    until(lambda: len(components(cluster, app.name, "spout")) == 3, WITHIN_S)
    with nimbus.connect(HOST, app.settings.nimbus_port, PATIENCE_MS) as client:
        assert [app.name] == [each.name for each in client.getClusterInfo().topologies]


def test_after_all_faults_every_window_is_closed(cluster: Cluster, under_way: UnderWay) -> None:
    """
    One more repetition, without a fault, closes the windows of all before it: final, never revised, and as they were.
    """
    assert cluster
    app, file, _, numbers = under_way
    last = next(numbers)
    end = sum(app.feed(last + 1, file=file, topic=TOPIC).values())
    until(lambda: app.committed() == end, WITHIN_S)
    wanted = expected(file, *range(last))
    until(lambda: app.rows(*range(last)) == wanted, 60)
