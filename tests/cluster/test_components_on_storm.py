"""Our components under ShellSpout and ShellBolt: what Storm sees of them, and what each does when it must not go on.

One app, whose filter waits while a file exists, and says things in every way there is.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cluster.apps import App, components, expected, fewer, stateless
from cluster.conftest import PATIENCE_MS
from cluster.test_cluster import until
from cluster.test_faults_on_storm import WITHIN_S

from stormline.cluster import nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.connectors.redis_commands import app_key, slot_tag
from stormline.core.slot import SLOTS
from stormline.embedded.ports import HOST

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="no cluster on Windows"),
]
TOPIC = "careful"
STORMS_TIMEOUT_S = 5
STUCK_AFTER_S = 12
FILTER = """
import logging, os, pathlib, threading

HELD = pathlib.Path({held!r})
log = logging.getLogger("mine")


class LargePurchases(FilterBolt):
    said = False

    def keep(self, purchase: Purchase) -> bool:
        if not self.said:
            self.said = True
            print("printed")
            os.write(1, b"written to descriptor 1\\n")
            log.debug("not asked for")
            log.info("told")
            log.warning("warned")
            log.error("erred")
        while HELD.exists():
            threading.Event().wait(0.05)
        return purchase.amount >= LEAST
"""


class Careful(NamedTuple):
    """The app; `held`: the file that its filter waits for to go; `file`: what it is fed."""

    app: App
    held: Path
    file: Path

    def feed(self, times: int) -> int:
        return sum(self.app.feed(times, file=self.file, topic=TOPIC).values())


@pytest.fixture(scope="module")
def careful(started: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Careful]:
    started.up()
    folder = tmp_path_factory.mktemp("careful")
    app = App(folder / "project", settings, "careful")
    app.read_from(TOPIC)
    held = folder / "held"
    source = app.project.root / "src" / "bolts" / "large_purchases.py"
    source.write_text(source.read_text().partition("class LargePurchases")[0] + FILTER.format(held=str(held)))
    made = Careful(app, held, fewer(folder / "hundred.csv.gz"))
    made.feed(1)
    app.submit(
        "--workers",
        "1",
        topology__subprocess__timeout__secs=STORMS_TIMEOUT_S,
        stormline__stuck_after_s=STUCK_AFTER_S,
    )
    try:
        yield made
    finally:
        held.unlink(missing_ok=True)
        app.kill()


def worker_pids(cluster: Cluster) -> list[int]:
    return [worker.pid for worker in cluster.status().workers if worker.name.startswith("careful-")]


def log_of(cluster: Cluster) -> str:
    (worker,) = [worker for worker in cluster.status().workers if worker.name.startswith("careful-")]
    return worker.log.read_text()


def counters(app: App) -> dict[str, Counter[str]]:
    """Component -> what Storm has counted on its data streams, as `emitted by_monthly`."""
    found: dict[str, Counter[str]] = {}
    with nimbus.connect(HOST, app.settings.nimbus_port, PATIENCE_MS) as client:
        (number,) = [each.id for each in client.getClusterInfo().topologies if each.name == app.name]
        executors = client.getTopologyInfo(number).executors
    for executor in executors:
        counts = found.setdefault(executor.component_id, Counter())
        if executor.stats is None:
            continue
        specific: Any = executor.stats.specific.spout or executor.stats.specific.bolt
        told = {"emitted": executor.stats.emitted}
        told |= {name: getattr(specific, name, None) or {} for name in ("acked", "failed", "executed")}
        for name, windows in told.items():
            for stream, count in windows.get(":all-time", {}).items():
                counts[f"{name} {getattr(stream, 'streamId', stream)}"] += count
    return found


def test_storms_counters_are_what_was_done(cluster: Cluster, careful: Careful) -> None:
    """
    Every batch that the spout emitted is acked and none failed; each bolt has executed and acked what was sent to it.
    """
    assert cluster
    app = careful.app
    end = careful.feed(1)
    until(lambda: app.committed() == end, WITHIN_S)
    assert stateless(expected(careful.file, 0)) == stateless(app.rows(0))
    # An executor tells its counts once a second.
    until(lambda: counters(app)["purchases"]["acked batch"] == counters(app)["purchases"]["emitted batch"] > 0)
    until(lambda: counters(app)["alerts"]["acked by_alerts"] == counters(app)["large"]["emitted by_alerts"])
    found = counters(app)
    batches = found["purchases"]["emitted batch"]
    assert end / 500 <= batches <= end / 500 + 50
    assert batches == found["large"]["executed batch"] == found["large"]["acked batch"]
    for name in ("monthly", "daily", "alerts"):
        sent = found["large"][f"emitted by_{name}"]
        assert sent == found[name][f"executed by_{name}"] == found[name][f"acked by_{name}"] > 0
        assert found[name]["acked progress"] == found[name]["executed progress"] > 0
    assert [] == [key for counts in found.values() for key, count in counts.items() if "failed" in key and count]


def test_all_that_is_said_is_in_the_workers_log(cluster: Cluster, careful: Careful) -> None:
    """
    Prints, lines of Python's logging with their levels, and what goes to descriptor 1 behind Python's back.
    """
    end = careful.feed(1)
    until(lambda: careful.app.committed() == end, WITHIN_S)
    until(lambda: "written to descriptor 1" in log_of(cluster))
    lines = re.findall(r"\[(\w+)\] .*\b(printed|told|warned|erred)$", log_of(cluster), re.MULTILINE)
    assert {"printed": "INFO", "told": "INFO", "warned": "WARN", "erred": "ERROR"} == {text: at for at, text in lines}
    assert "stdout belongs to Storm" in log_of(cluster)
    assert "not asked for" not in log_of(cluster)


def test_each_component_has_a_pid_file(cluster: Cluster, careful: Careful) -> None:
    """
    The Supervisor finds an empty file named by its pid for each of them, and kills by it what outlives a worker.
    """
    assert careful
    until(lambda: len(components(cluster, "careful", "bolt")) == 4, WITHIN_S)
    pids = components(cluster, "careful", "bolt") + components(cluster, "careful", "spout")
    files = [path for path in (cluster.storm_home / "data" / "workers").glob("*/pids/*") if int(path.name) in pids]
    assert sorted(pids) == sorted(int(path.name) for path in files)
    assert {0} == {path.stat().st_size for path in files}


def test_a_slow_function_costs_no_worker(cluster: Cluster, careful: Careful) -> None:
    """
    A predicate that takes nearly twice Storm's time-out: heartbeats are answered, and the worker lives on.
    """
    before = worker_pids(cluster)
    careful.held.touch()
    try:
        end = careful.feed(2)
        slow_s = time.monotonic() + STORMS_TIMEOUT_S * 1.8
        until(lambda: time.monotonic() > slow_s)
        assert careful.app.committed() < end
    finally:
        careful.held.unlink()
    until(lambda: careful.app.committed() == end, WITHIN_S)
    assert before == worker_pids(cluster)
    assert stateless(expected(careful.file, 1)) == stateless(careful.app.rows(1))


def test_what_is_stuck_is_ended_by_storm(cluster: Cluster, careful: Careful) -> None:
    """
    A predicate that does not return: the component says where it is, and Storm ends and starts its worker.
    """
    before = worker_pids(cluster)
    careful.held.touch()
    try:
        end = careful.feed(3)
        until(lambda: worker_pids(cluster) not in ([], before), WITHIN_S)
    finally:
        careful.held.unlink()
    text = log_of(cluster)
    assert "counts as stuck" in text
    assert "in keep" in text
    assert re.search(r"heartbeat timeout", text)
    until(lambda: careful.app.committed() == end, WITHIN_S)
    assert stateless(expected(careful.file, 2)) == stateless(careful.app.rows(2))


def test_a_fenced_task_exits(cluster: Cluster, careful: Careful) -> None:
    """
    Another owner stands in its slots: the task ends at its next flush, acks nothing of it, and its successor counts.
    """
    app = careful.app
    before = worker_pids(cluster)
    for slot in range(SLOTS):
        app.client.hset(f"{slot_tag(app.name, 'monthly', slot)}:slot", "owner", "somebody else")
    end = careful.feed(4)
    until(lambda: worker_pids(cluster) not in ([], before), WITHIN_S)
    until(lambda: app.committed() == end, WITHIN_S)
    assert "another task owns the slot" in log_of(cluster)
    assert stateless(expected(careful.file, 3)) == stateless(app.rows(3))


def test_a_halted_app_stays_alive_until_it_is_resumed(cluster: Cluster, careful: Careful) -> None:
    """
    Halted, no task counts or exits: the worker lives on past Storm's time-out, with the reason among its errors. After
    `sparse resume` all goes on by itself.
    """
    app = careful.app
    app.client.set(app_key(app.name, "halt"), "somebody has to look")
    (worker,) = worker_pids(cluster)
    end = careful.feed(5)
    # What is on its way is still counted; the spouts hear of it at their next commit, the bolts when they are anew.
    with nimbus.connect(HOST, app.settings.nimbus_port, PATIENCE_MS) as client:
        (number,) = [each.id for each in client.getClusterInfo().topologies if each.name == app.name]
        until(lambda: "somebody has to look" in str(client.getTopologyInfo(number).errors), WITHIN_S)
    committed = app.committed()
    halted_s = time.monotonic() + STORMS_TIMEOUT_S * 1.8
    until(lambda: time.monotonic() > halted_s)
    assert ([worker], committed) == (worker_pids(cluster), app.committed())
    assert committed < end
    said = app.project.sparse("resume", "-n", app.name, "-e", "cluster")
    assert 0 == said.returncode, said.stdout + said.stderr
    until(lambda: app.committed() == end, WITHIN_S)
    assert stateless(expected(careful.file, 4)) == stateless(app.rows(4))
