"""Workers, their supervisor and the process that runs them are killed, and lose and repeat nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from faults.conftest import Project
from oracle import purchases

from stormline.engine.workers import DEATHS_AT_START

KILLS = 4
MOST_OF_ONE = DEATHS_AT_START - 1
"""Kills of one worker: on a slow machine all may come before its tasks are prepared, and one more ends the run."""


def workers(project: Project) -> dict[int, int]:
    """Worker -> its latest process, as the log of the run says."""
    log = project.root / "logs" / "purchases" / "run.log"
    found = re.findall(r"worker (\d+) is process (\d+)", log.read_text()) if log.exists() else []
    return {int(number): int(pid) for number, pid in found}


def passes(run: subprocess.Popen[str], seconds: float) -> bool:
    """Let the run go on for so long; False if it has come to its end."""
    try:
        run.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def until_it_runs(run: subprocess.Popen[str], project: Project, count: int) -> None:
    """Until every worker has said which process it is; the figures on the screen begin before that."""
    while len(workers(project)) < count:
        assert passes(run, 0.02), "it has ended"


def alive(pid: int) -> bool:
    """Running, and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_one(project: Project, random: Random, killed: Counter[int]) -> None:
    """
    SIGKILL to one of the workers, counted in `killed`; to none if none is alive: one that was just killed is in the log
    until its successor has said hello, and all of them end when the run does.
    """
    found = sorted(workers(project).items())
    there = [(number, pid) for number, pid in found if killed[number] < MOST_OF_ONE and alive(pid)]
    if not there:
        return
    number, pid = random.choice(there)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # ended since
        return
    killed[number] += 1


def assert_results_are_those_of_the_file(project: Project, seed: int | None = None) -> None:
    for component, rows in purchases.rows().items():
        results = project.sparse("results", component, "--json")
        assert rows == purchases.parsed(results.stdout), f"{component} differs; seed {seed}, {results.stderr}"


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_workers_are_started_again_and_change_no_result(project: Project, seed: int) -> None:
    """
    Any worker, at any moment, several times in one run: the run goes on by itself to exact results.
    """
    random = Random(seed)
    run = project.start("run", "--workers", "3")
    until_it_runs(run, project, 3)
    killed: Counter[int] = Counter()
    while killed.total() < KILLS and passes(run, random.uniform(0.02, 0.4)):
        kill_one(project, random, killed)
    printed, _ = run.communicate(timeout=200)

    assert 0 == run.returncode, printed
    assert killed, f"seed {seed}: the run was over too soon"
    assert "was killed by signal 9 and is started again" in printed
    assert_results_are_those_of_the_file(project, seed)


def test_workers_end_when_the_process_that_runs_them_is_killed(project: Project) -> None:
    """
    SIGKILL of the run alone: its workers and their supervisor are gone soon, and the next run counts the rest.
    """
    run = project.start("run", "--workers", "2")
    until_it_runs(run, project, 2)
    pids = workers(project).values()
    assert 2 == len(pids)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    with subprocess.Popen(["tail", *[f"--pid={pid}" for pid in pids], "-f", "/dev/null"]) as waiting:
        waiting.wait(timeout=100)

    assert not any(alive(pid) for pid in pids)
    assert 0 == project.sparse("run").returncode
    assert_results_are_those_of_the_file(project)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains_and_ends_with_0(project: Project, number: int) -> None:
    """
    Spouts stop, what is on its way is counted and committed, and the next run goes on from there.
    """
    run = project.start("run", "--workers", "2")
    until_it_runs(run, project, 2)
    os.killpg(run.pid, number) if number == signal.SIGINT else os.kill(run.pid, number)
    printed, _ = run.communicate(timeout=200)

    assert 0 == run.returncode, printed
    assert "stopping: what is on its way is counted and committed first" in printed
    again = project.sparse("run")
    assert 0 == again.returncode
    assert "already counted before" not in again.stdout
    assert_results_are_those_of_the_file(project)


@pytest.mark.parametrize("flags", [("--workers", "2"), ("--inline",), ("--multilang",)], ids=" ".join)
def test_a_second_signal_stops_at_once_and_loses_nothing(project: Project, flags: tuple[str, ...]) -> None:
    """
    Ctrl-C twice, as from a terminal: to all processes of the run.
    """
    run = project.start("run", *flags)
    assert run.stdout is not None
    for line in run.stdout:
        if "first result in Redis" in line:
            break
    os.killpg(run.pid, signal.SIGINT)
    for line in run.stdout:
        if line.startswith("stopping"):
            break
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=200)

    assert 130 == run.returncode
    assert 0 == project.sparse("run").returncode
    assert_results_are_those_of_the_file(project)
