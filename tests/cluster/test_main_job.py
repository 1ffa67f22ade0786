"""The main job on a real Storm: results equal to the oracle, with any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.apps import App, expected
from cluster.test_cluster import until
from oracle import purchases

from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings

pytestmark = pytest.mark.timeout(300)
STRICT = {"topology.fall.back.on.java.serialization": False}
"""What Kryo has no registration for ends the worker. It is so by default; here it must not depend on that."""


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_main_job_equals_the_oracle(cluster: Cluster, settings: Settings, tmp_path: Path, workers: int) -> None:
    """
    `purchases`, two tasks a component, on one, two and four workers: all rows are those of the file, every window is
    closed, and nothing but texts and numbers went between the workers.
    """
    assert cluster
    app = App(tmp_path / "project", settings, f"purchases-{workers}")
    app.set_parallelism(2)
    app.ends_at(app.feed())
    app.submit(**{"topology.workers": workers, "stormline.bounded": True, **STRICT})
    try:
        until(lambda: app.rows() == expected(0, ended=True), 150)
        for component, rows in purchases.rows().items():
            told = app.project.sparse("results", component, "-n", app.name, "-e", "cluster", "--json")
            assert rows == purchases.parsed(told.stdout), f"{component}: {told.stderr}"
        assert workers == len(cluster.status().workers)
    finally:
        app.kill()
