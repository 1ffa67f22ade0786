"""The main job in every hosting, compared with the oracle."""

from pathlib import Path

import pytest
from faults.conftest import Project
from oracle import purchases


@pytest.mark.parametrize("flags", [("--inline",), ("--workers", "3"), ("--multilang",)], ids=" ".join)
def test_the_main_job_has_the_same_results_in_every_hosting(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """
    All tasks in one thread, spread over three workers, and each a process on the multilang pipe.
    """
    project = Project(tmp_path)
    ended = project.sparse("run", *flags)
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    for component, rows in purchases.rows().items():
        assert rows == purchases.parsed(project.sparse("results", component, "--json").stdout), component
