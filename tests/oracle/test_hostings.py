"""The main job in every hosting, compared with the oracle."""

from pathlib import Path

import pytest
from faults.conftest import Project
from oracle import purchases

ACCOUNT = "69,659 read = 69,173 kept + 486 dropped + 0 broken"


def same_results(project: Project) -> None:
    for component, rows in purchases.rows().items():
        assert rows == purchases.parsed(project.sparse("results", component, "--json").stdout), component


@pytest.mark.parametrize("chain", [False, True], ids=["apart", "chained"])
@pytest.mark.parametrize("flags", [("--inline",), ("--workers", "3"), ("--multilang",)], ids=" ".join)
def test_the_main_job_has_the_same_results_in_every_hosting(
    tmp_path: Path, flags: tuple[str, ...], chain: bool
) -> None:
    """
    All tasks in one thread, spread over three workers, and each a process on the multilang pipe; the filter in tasks of
    its own, and in those of the spout. What became of the records is told in the same words.
    """
    project = Project(tmp_path)
    if chain:
        project.chain()
    ended = project.sparse("run", *flags)
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert ACCOUNT in ended.stdout
    same_results(project)


def test_the_filter_can_be_chained_for_one_run_and_not_for_the_next(tmp_path: Path) -> None:
    """
    The second run takes the state of the first for its own, and finds every record counted.
    """
    project = Project(tmp_path)
    project.chain()
    first = project.sparse("run")
    assert ACCOUNT in first.stdout, first.stdout + first.stderr
    assert any(line.split()[:1] == ["large"] for line in first.stdout.splitlines()), "it is in the picture"
    project.chain(together=False)
    second = project.sparse("run")
    assert 0 == second.returncode, second.stdout + second.stderr
    assert "nothing new: all 69,659 records of the feed were counted before" in second.stdout
    same_results(project)
