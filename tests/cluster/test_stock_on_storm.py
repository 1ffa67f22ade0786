"""The stock project on a real Storm, unchanged: the very tests that our engine passes, with Storm in its place.

It is submitted by `sparse submit`, and once by streamparse's own, with our JAR.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster.apps import WHEELS
from cluster.conftest import PATIENCE, PATIENCE_MS
from cluster.test_cluster import PAUSE
from stock import test_stock_components
from stock.stock_runs import PROJECT

from stormline.cluster import nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST

pytestmark = pytest.mark.timeout(600)
WITHIN_S = 250
NUMBERS = itertools.count(1)


class OnStorm:
    """In the place of `stock_runs.Run`: what the components note is in the same files."""

    settings: Settings
    project: Path

    def __init__(self, topology: str, notes: Path, *, multilang: bool, **conf: Any) -> None:
        self._topology = topology
        self._name = f"stock-{topology}-{next(NUMBERS)}"
        self._conf = {key.replace("_", "."): value for key, value in conf.items()} | {"stock.notes": str(notes)}
        self.notes = notes

    def __enter__(self) -> OnStorm:
        options = [f"-o{key}={json.dumps(value)}" for key, value in self._conf.items()]
        command = [sys.executable, "-m", "stormline.cli", "submit", "-n", self._topology, "-N", self._name]
        run([*command, "-w", "1", "-a", "1", *options, *PATIENCE], self.project)
        return self

    def __exit__(self, *_: object) -> None:
        with nimbus.connect(HOST, self.settings.nimbus_port, PATIENCE_MS) as client:
            nimbus.kill(client, self._name)

    def until(self, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < end_s, f"{self._name}: {[path.name for path in self.notes.iterdir()]}"
            PAUSE.wait(0.05)

    def noted(self, name: str) -> list[str]:
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []


def run(command: Sequence[str], folder: Path, **environment: str) -> None:
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert 0 == ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def project(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stock project, its `nimbus` that of this cluster; the wheels are shared with the project's own."""
    folder = tmp_path_factory.mktemp("stock") / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "test_*", "stock_runs.py"))
    config = folder / "config.json"
    config.write_text(config.read_text().replace("127.0.0.1:6627", f"{HOST}:{settings.nimbus_port}"))
    WHEELS.mkdir(exist_ok=True)
    (folder / ".stormline").mkdir()
    (folder / ".stormline" / "wheels").symlink_to(WHEELS)
    return folder


@pytest.mark.parametrize(
    "test",
    [
        test_stock_components.test_the_word_count_counts_each_word_at_its_own_task,
        test_stock_components.test_batches_are_sent_at_ticks_and_acked_then,
        test_stock_components.test_a_bolt_with_a_timer_thread_runs_as_a_child,
        test_stock_components.test_ticks_come_to_process_tick,
        test_stock_components.test_a_reliable_spout_replays_what_failed,
        test_stock_components.test_a_shell_component_is_spoken_to_by_multilang,
        test_stock_components.test_values_are_as_json_leaves_them,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_on_a_real_storm(
    cluster: Cluster,
    settings: Settings,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[..., None],
) -> None:
    """
    What holds on our engine holds there, of the same files, by the same assertions.
    """
    assert cluster
    monkeypatch.setattr(OnStorm, "settings", settings, raising=False)
    monkeypatch.setattr(OnStorm, "project", project, raising=False)
    monkeypatch.setattr(test_stock_components, "Run", OnStorm)
    test(tmp_path, multilang=True)


@pytest.fixture(scope="module")
def streamparse() -> Path:
    """A virtualenv with streamparse's own command line, made once: it imports pkg_resources, which setuptools had
    until 80."""
    folder = WHEELS.with_name("streamparse")
    done = folder / "complete"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        run([str(folder / "bin" / "pip"), "install", "--quiet", "streamparse==5.0.1", "setuptools<81"], folder)
        done.touch()
    return folder / "bin" / "sparse"


def test_streamparses_own_submit_takes_our_jar(
    cluster: Cluster, settings: Settings, project: Path, streamparse: Path, tmp_path: Path
) -> None:
    """
    `sparse submit -j` of streamparse 5.0.1, with the JAR of `sparse jar`: its launcher finds everything in it.
    """
    assert cluster
    jar = tmp_path / "wordcount.jar"
    run([sys.executable, "-m", "stormline.cli", "jar", "-n", "wordcount", "-o", str(jar)], project)
    options = [f"-ostock.notes={json.dumps(str(tmp_path))}", "-ostock.words=50"]
    command = [str(streamparse), "submit", "-n", "wordcount", "-e", "prod", "-j", str(jar), "-w", "1", *options]
    run(command, project, LEIN_ROOT="1")
    acked = tmp_path / "acked"
    try:
        end_s = time.monotonic() + WITHIN_S
        while not acked.exists() or len(acked.read_text().splitlines()) < 50:
            assert time.monotonic() < end_s, [path.name for path in tmp_path.iterdir()]
            PAUSE.wait(0.05)
        assert {str(number): 1 for number in range(1, 51)} == Counter(acked.read_text().split())
    finally:
        with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
            nimbus.kill(client, "wordcount")
