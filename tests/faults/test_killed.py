"""The main job is killed, again and again, and loses and repeats nothing."""

import os
import signal
import subprocess
from random import Random

import pytest
from faults.conftest import Project
from oracle import purchases

SEED = 19970101
KILLS = 20


def _kill_at_some_moment(run: subprocess.Popen[str], random: Random, *, while_starting: bool) -> str | None:
    """SIGKILL to the whole process group; what it had printed last, or None if it had come to its end by itself."""
    assert run.stdout is not None
    last = ""
    if not while_starting:
        for last in run.stdout:
            if last.startswith("after"):
                break
    try:
        run.wait(timeout=random.uniform(0.05, 1.5))
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    rest = run.stdout.read()
    return None if run.returncode == 0 else last + rest


@pytest.mark.timeout(600)
def test_twenty_kills_change_no_result(project: Project) -> None:
    """
    Whenever the process group is killed, the next run goes on from there, and the results are those of the file.
    """
    project.slow()
    random = Random(SEED)
    moments = []
    for _ in range(KILLS):
        seen = _kill_at_some_moment(project.start("run"), random, while_starting=random.random() < 0.3)
        moments.append(None if seen is None else seen.count("\n"))
    assert sum(moment is not None for moment in moments) >= KILLS // 2, f"seed {SEED}: too few runs were cut: {moments}"

    last = project.sparse("run")
    assert last.returncode == 0, last.stdout + last.stderr

    expected = purchases.rows()
    for component, rows in expected.items():
        results = project.sparse("results", component, "--json")
        assert rows == purchases.parsed(results.stdout), f"{component} differs; seed {SEED}, {results.stderr}"
