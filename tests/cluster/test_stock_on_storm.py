"""The stock project on a real Storm, unchanged: the very tests that our engine passes, with Storm in its place."""

from __future__ import annotations

import itertools
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.test_cluster import PAUSE
from stock import test_stock_components
from stock.stock_runs import SOURCES, load

from stormline.cluster import nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST

pytestmark = pytest.mark.timeout(600)
WITHIN_S = 90
NUMBERS = itertools.count(1)


class OnStorm:
    """In the place of `stock_runs.Run`: what the components note is in the same files."""

    settings: Settings

    def __init__(self, topology: str, notes: Path, *, multilang: bool, **conf: Any) -> None:
        self._topology = load(topology)
        self._name = f"stock-{topology}-{next(NUMBERS)}"
        self._conf = {key.replace("_", "."): value for key, value in conf.items()}
        self._conf |= {"stock.notes": str(notes), "topology.workers": 1, "topology.acker.executors": 1}
        self._jar = notes / f"{self._name}.jar"
        self.notes = notes

    def __enter__(self) -> OnStorm:
        with zipfile.ZipFile(self._jar, "w") as jar:
            for path in sorted(SOURCES.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    jar.write(path, f"resources/{path.relative_to(SOURCES)}")
        with nimbus.connect(HOST, self.settings.nimbus_port) as client:
            conf = {**self._topology.config, **self._conf}
            nimbus.submit(client, self._name, nimbus.upload(client, self._jar), self._topology.thrift_topology, conf)
        return self

    def __exit__(self, *_: object) -> None:
        with nimbus.connect(HOST, self.settings.nimbus_port) as client:
            nimbus.kill(client, self._name)

    def until(self, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < end_s, f"{self._name}: {[path.name for path in self.notes.iterdir()]}"
            PAUSE.wait(0.05)

    def noted(self, name: str) -> list[str]:
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[..., None],
) -> None:
    """
    What holds on our engine holds there, of the same files, by the same assertions.
    """
    assert cluster
    monkeypatch.setattr(OnStorm, "settings", settings, raising=False)
    monkeypatch.setattr(test_stock_components, "Run", OnStorm)
    test(tmp_path, multilang=True)
