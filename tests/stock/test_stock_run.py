"""`sparse run` of the stock project, spread over workers: as its users start it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stock.test_stock_components import first

ROOT = Path(__file__).parents[2]
WITHIN_S = 150
HOSTINGS = [("--workers", "3"), ("--multilang",), ("--inline",)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy, as a run writes logs into its project."""
    copied = tmp_path / "project"
    shutil.copytree(ROOT / "tests" / "stock", copied, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return copied


@contextmanager
def running(project: Path, notes: Path, name: str, *flags: str, words: int) -> Iterator[subprocess.Popen[str]]:
    """`sparse run -n NAME -e prod`, ended by SIGTERM if it has not ended itself."""
    command = [sys.executable, "-m", "stormline.cli", "--project", str(project), "run", "-n", name, "-e", "prod"]
    command += ["-o", f"stock.words={words}", "-o", f"stock.notes={notes}", *flags]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def lines(notes: Path, name: str) -> list[str]:
    path = notes / name
    return path.read_text().splitlines() if path.exists() else []


def wait_for(process: subprocess.Popen[str], notes: Path, name: str, count: int) -> None:
    """Until a file of notes has so many lines."""
    end_s = time.monotonic() + WITHIN_S
    while len(lines(notes, name)) < count:
        assert time.monotonic() < end_s, process.stdout.read() if process.poll() is not None else "nothing came"
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.parametrize("flags", HOSTINGS, ids=" ".join)
def test_the_word_count_runs_in_every_hosting(project: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """
    Counts are exact and each tuple is acked once, whether tasks share a process or not; SIGTERM ends it with 0.
    """
    with running(project, tmp_path, "wordcount", *flags, words=200) as process:
        wait_for(process, tmp_path, "acked", 200)
    expected: Counter[str] = Counter()
    values = []
    for word in first(200):
        expected[word] += 1
        values.append(repr([word, expected[word]]))

    assert 0 == process.returncode
    assert {str(number): 1 for number in range(1, 201)} == Counter(lines(tmp_path, "acked"))
    assert sorted(values) == sorted(line.split(" ", 3)[3] for line in lines(tmp_path, "noted"))


@pytest.mark.parametrize(("environment", "tasks"), [("prod", 3), ("local", 1)])
def test_flags_mean_what_they_mean_to_streamparse(project: Path, tmp_path: Path, environment: str, tasks: int) -> None:
    """
    `-t` ends the run after so many seconds, with 0; `-e` picks among the parallelism hints of a component; `-o` wins
    over `Topology.config`; `--debug` logs each emitted tuple with the tasks that it goes to.
    """
    with running(project, tmp_path, "by_environment", "-e", environment, "-t", "6", "--debug", words=9) as process:
        process.wait(WITHIN_S)
    printed = process.stdout.read()
    logged = "".join(path.read_text() for path in (project / "logs" / "by_environment").glob("worker-*.log"))
    emits = re.findall(r"DEBUG +words \(task \d+\): emits \['\w+'\] on stream 'default' to tasks \[(\d+)\]", logged)

    assert 0 == process.returncode, printed
    assert "stopping" in printed
    assert 9 == len(lines(tmp_path, "acked"))
    assert 9 == len(emits)
    assert tasks == len(set(emits))
    assert {"run.log", "worker-0.log", "worker-1.log"} <= {
        path.name for path in (project / "logs" / "by_environment").iterdir()
    }


def test_an_inline_run_with_a_seed_is_the_same_each_time(project: Path, tmp_path: Path) -> None:
    """
    The order in which tuples are emitted and counted is drawn by the seed: one order a seed, another for another.
    """
    orders = []
    for number, seed in enumerate(("3", "3", "4")):
        notes = tmp_path / str(number)
        notes.mkdir()
        with running(project, notes, "wordcount", "--inline", "--seed", seed, "--debug", words=40) as process:
            wait_for(process, notes, "acked", 40)
        log = (project / "logs" / "wordcount" / "worker-0.log").read_text()
        (project / "logs" / "wordcount" / "worker-0.log").unlink()
        orders.append(re.findall(r"\w+ \(task \d+\): emits .*", log))

    assert 80 <= len(orders[0])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize("flags", [(), ("--strict",)], ids=["at once", "strict"])
def test_what_a_dead_worker_held_fails_at_once_or_times_out(
    project: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """
    Worker 1 has the bolt that holds all tuples, worker 0 the spout. When 1 is killed, all fail although nothing ever
    times out; with `--strict` nothing fails before the time-out does it, when a new worker has long been started.
    """
    timeout = (
        ("-o", "topology.enable.message.timeouts=false") if not flags else ("-o", "topology.message.timeout.secs=4")
    )
    log = project / "logs" / "held" / "run.log"
    with running(project, tmp_path, "held", "--workers", "2", *timeout, *flags, words=6) as process:
        wait_for(process, tmp_path, "held", 6)
        (pid,) = re.findall(r"worker 1 is process (\d+)", log.read_text())
        os.kill(int(pid), signal.SIGKILL)
        wait_for(process, tmp_path, "failed", 6)
        started = len(re.findall(r"worker 1 is process", log.read_text()))

    assert sorted(map(str, range(1, 7))) == sorted(lines(tmp_path, "failed"))
    assert [] == lines(tmp_path, "acked")
    assert not flags or 2 == started


def test_a_shell_component_runs_in_a_worker(project: Path, tmp_path: Path) -> None:
    """
    It is a child in every hosting.
    """
    with running(project, tmp_path, "shell", "--workers", "2", words=8) as process:
        wait_for(process, tmp_path, "noted", 8)

    upper = sorted(word.upper() for word in first(8))
    assert upper == sorted(ast.literal_eval(line.split(" ", 3)[3])[0] for line in lines(tmp_path, "noted"))


@pytest.mark.parametrize("flags", HOSTINGS, ids=" ".join)
def test_logs_have_component_and_task(project: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """
    What a component prints and logs is in `logs/<app>/worker-<n>.log` and on the screen, each line once, with its
    component and task; and one hint.
    """
    with running(project, tmp_path, "printing", *flags, words=3) as process:
        wait_for(process, tmp_path, "acked", 3)
    printed = process.stdout.read()
    logged = "".join(path.read_text() for path in (project / "logs" / "printing").glob("worker-*.log"))

    for text in (printed, logged):
        assert 1 == len(re.findall(r"prints \(task \d+\): print\(\) ", text)), text
        for word in first(3):
            for line in (f"I saw {word}", f"logged {word}"):
                found = [said for said in text.splitlines() if said.endswith(line)]
                assert first(3).count(word) == len(found), text
                assert all(1 == said.count("prints (task ") for said in found), text
    assert logs_of(flags) <= {path.name for path in (project / "logs" / "printing").iterdir()}


def logs_of(flags: tuple[str, ...]) -> set[str]:
    """The files that a run with these flags writes."""
    workers = int(flags[1]) if "--workers" in flags else 1
    return {f"worker-{number}.log" for number in range(workers)} | ({"run.log"} if workers > 1 else set())


@pytest.mark.parametrize("flags", HOSTINGS, ids=" ".join)
def test_an_orderly_end_waits_for_tuples_that_nobody_tracks(
    project: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """
    A spout without ids above a batching bolt: after SIGTERM the pending batch is still sent at its tick and arrives.
    """
    with running(project, tmp_path, "careless", *flags, words=16) as process:
        wait_for(process, tmp_path, "emitted", 16)
    counts: Counter[str] = Counter()
    for line in lines(tmp_path, "noted"):
        word, count = ast.literal_eval(line.split(" ", 3)[3])
        counts[word] += count

    assert 0 == process.returncode
    assert Counter(first(16)) == counts


def test_a_worker_that_never_answers_is_killed_and_started_again(project: Path, tmp_path: Path) -> None:
    """
    A component that hangs holds up its whole worker, with the spout in it. After the subprocess time-out the worker is
    killed, the user is told at which line it was, and the spout goes on in a new one.
    """
    silence = ("-o", "topology.subprocess.timeout.secs=2")
    with running(project, tmp_path, "hanging", "--workers", "2", *silence, words=8) as process:
        wait_for(process, tmp_path, "activated", 2)
    printed = process.stdout.read()

    assert "said nothing for 2 s and is killed; where it was:\n" in printed
    assert 1 <= len(re.findall(r'  File ".*counting.py", line \d+ in process', printed))
    assert "stormline/engine" not in printed


def test_a_component_that_never_starts_ends_the_run(project: Path, tmp_path: Path) -> None:
    """
    Three deaths before anything was done: the error has the user's traceback; no restart for ever.
    """
    with running(project, tmp_path, "never_starts", "--workers", "2", words=3) as process:
        process.wait(WITHIN_S)
    printed = process.stdout.read()

    assert 1 == process.returncode
    assert "died 3 times before it had done anything" in printed
    assert "Traceback" in printed
