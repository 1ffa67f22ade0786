"""The main job on a real Storm: results equal to the oracle, with any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.apps import App
from cluster.test_cluster import until
from oracle import purchases

from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings

pytestmark = pytest.mark.timeout(600)
TOPIC = "all-purchases"
STRICT = {"topology__fall__back__on__java__serialization": False}
"""What Kryo has no registration for ends the worker. It is so by default; here it must not depend on that."""


@pytest.mark.parametrize(("workers", "chain"), [(1, False), (2, False), (4, False), (2, True)])
def test_the_main_job_equals_the_oracle(
    cluster: Cluster, settings: Settings, tmp_path: Path, workers: int, chain: bool
) -> None:
    """
    `purchases`, two tasks a component, on one, two and four workers, and with the filter in the tasks of the spout: all
    rows are those of the file, every window is closed, and nothing but texts and numbers went between the workers.
    """
    assert cluster
    app = App(tmp_path / "project", settings, f"on-{workers}-workers{'-chained' if chain else ''}")
    app.read_from(TOPIC)
    if chain:
        app.project.chain()
    app.set_parallelism(2)
    wanted, ends = purchases.rows(), app.feed(topic=TOPIC)
    app.ends_at(TOPIC, ends)
    app.submit("--workers", str(workers), stormline__bounded=True, **STRICT)
    try:
        until(lambda: app.committed() == sum(ends.values()), 300)
        until(lambda: app.rows(0) == wanted)
        for component, rows in wanted.items():
            told = app.sparse("results", component, "-n", app.name, "--json")
            assert rows == purchases.parsed(told.stdout), f"{component}: {told.stderr}"
        assert workers == len([each for each in cluster.status().workers if each.name.startswith(f"{app.name}-")])
    finally:
        app.kill()
