"""`sparse run` of the stock project, spread over workers: as its users start it."""

from __future__ import annotations

import ast
import os
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
WITHIN_S = 30


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


@pytest.mark.parametrize("flags", [("--workers", "3"), ("--multilang",), ("--inline",)], ids=" ".join)
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


def test_a_shell_component_runs_in_a_worker(project: Path, tmp_path: Path) -> None:
    """
    It is a child in every hosting.
    """
    with running(project, tmp_path, "shell", "--workers", "2", words=8) as process:
        wait_for(process, tmp_path, "noted", 8)

    upper = sorted(word.upper() for word in first(8))
    assert upper == sorted(ast.literal_eval(line.split(" ", 3)[3])[0] for line in lines(tmp_path, "noted"))


def test_logs_have_component_and_task(project: Path, tmp_path: Path) -> None:
    """
    What a component prints and logs is in `logs/<app>/worker-<n>.log` and on the screen, with its component and task.
    """
    with running(project, tmp_path, "printing", "--workers", "2", words=3) as process:
        wait_for(process, tmp_path, "acked", 3)
    printed = process.stdout.read()
    logged = "".join(path.read_text() for path in (project / "logs" / "printing").glob("worker-*.log"))

    for text in (printed, logged):
        assert "(task " in text
        assert "print() belongs" in text
    assert {"run.log", "worker-0.log", "worker-1.log"} <= {
        path.name for path in (project / "logs" / "printing").iterdir()
    }


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
