"""Settings of a run: what wins over what, and where log lines go."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormline.cli.logs import MOST_LINES_A_SECOND, log_to
from stormline.cli.settings import from_the_command_line, with_environment
from stormline.core.errors import SettingsError
from stormline.engine.deployment import Deployment
from stormline.engine.topology import ComponentSpec, TopologySpec


def given(*options: str, workers=None, inline=False, seed=None, multilang=False) -> dict:
    return from_the_command_line(options, workers=workers, inline=inline, seed=seed, multilang=multilang, debug=False)


def conf(environment: dict, topology: dict, *options: str, **flags) -> dict:
    spec = TopologySpec((ComponentSpec("s", object, True),), topology)
    return dict(Deployment(with_environment(spec, environment), name="n", conf=given(*options, **flags)).conf)


def test_the_command_line_wins_over_the_topology_and_that_over_the_environment() -> None:
    """
    streamparse's order; what nobody says is Storm's default.
    """
    environment = {"a": 1, "b": 1, "c": 1, "topology.message.timeout.secs": 1}
    merged = conf(environment, {"b": 2, "c": 2}, "c=3")

    assert (1, 2, 3) == (merged["a"], merged["b"], merged["c"])
    assert 1 == merged["topology.message.timeout.secs"]
    assert merged["topology.max.spout.pending"] is None


def test_workers_are_the_cores_unless_somebody_says_how_many() -> None:
    """
    `--workers`, else the topology's, else the environment's.
    """
    assert conf({}, {})["topology.workers"] >= 1
    assert 5 == conf({"topology.workers": 5}, {})["topology.workers"]
    assert 4 == conf({"topology.workers": 5}, {"topology.workers": 4})["topology.workers"]
    assert 3 == conf({}, {"topology.workers": 4}, workers=3)["topology.workers"]
    assert 1 == conf({}, {"topology.workers": 4}, inline=True)["topology.workers"]


def test_values_are_read_as_yaml() -> None:
    """
    Numbers, booleans, lists and texts, as streamparse reads them.
    """
    assert {"a": 1, "b": True, "c": [1, 2], "d": "x=y", "e": None} == given("a=1", "b=true", "c=[1, 2]", "d=x=y", "e=")


def test_all_faults_of_the_command_line_are_told_at_once() -> None:
    """
    An option without a value, a value that is no YAML, and flags that contradict each other.
    """
    with pytest.raises(SettingsError) as raised:
        given("a", "b=[", workers=2, inline=True)
    with pytest.raises(SettingsError, match="--seed 7 needs --inline"):
        given(workers=2, seed=7)

    assert 3 == len(raised.value.faults)
    assert "-o a: write it as key=value" in raised.value.faults[0]
    assert "--inline and --workers" in raised.value.faults[2]


@pytest.fixture
def said(tmp_path: Path) -> Iterator[list[tuple[int, str]]]:
    """The log of this process goes to `tmp_path` and to the list, for one test."""
    root, ours = logging.getLogger(), logging.getLogger("stormline")
    handlers, level = list(root.handlers), ours.level
    shown: list[tuple[int, str]] = []
    log_to(tmp_path, "worker-0", lambda level, text: shown.append((level, text)), debug=False)
    yield shown
    for handler in list(root.handlers):
        handler.close()
    root.handlers[:] = handlers
    ours.setLevel(level)


def test_lines_of_tasks_and_warnings_are_shown_and_everything_is_in_the_file(
    tmp_path: Path, said: list[tuple[int, str]]
) -> None:
    """
    The engine's own INFO lines are for the file alone.
    """
    logging.getLogger("stormline.task").info("a (task 1): hello")
    logging.getLogger("stormline.engine").info("worker 0 is process 7")
    logging.getLogger("stormline.engine").warning("worker 0 is started again")

    assert ["a (task 1): hello", "worker 0 is started again"] == [text for _, text in said]
    assert 3 == len((tmp_path / "worker-0.log").read_text().splitlines())


def test_a_flood_of_lines_is_in_the_file_and_only_counted_on_the_screen(
    tmp_path: Path, said: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A component that floods its log does not stop the run.
    """
    now_s = [100.0]
    monkeypatch.setattr("stormline.cli.logs.time.monotonic", lambda: now_s[0])
    for number in range(1000):
        logging.getLogger("stormline.task").info("line %d", number)
    assert MOST_LINES_A_SECOND == len(said)
    now_s[0] += 1
    logging.getLogger("stormline.task").info("after")

    assert f"... {1000 - MOST_LINES_A_SECOND:,} lines more, in {tmp_path}" in [text for _, text in said]
    assert 1001 == len((tmp_path / "worker-0.log").read_text().splitlines())


def test_logs_rotate(tmp_path: Path, said: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Five older files are kept.
    """
    (file,) = (h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler))
    monkeypatch.setattr(file, "maxBytes", 1_000)
    for number in range(400):
        logging.getLogger("stormline.engine").info("a line of some length, number %d", number)

    assert {"worker-0.log", *(f"worker-0.log.{n}" for n in range(1, 6))} == {path.name for path in tmp_path.iterdir()}
