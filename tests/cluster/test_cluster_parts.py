"""What the cluster is made of, as far as it needs no Java."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormline.cli import commands, config
from stormline.cluster import needs
from stormline.cluster.cluster import Cluster
from stormline.cluster.daemon import Daemon
from stormline.cluster.layout import Layout
from stormline.cluster.settings import Settings
from stormline.core.errors import ServerError, SettingsError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no cluster on Windows")
WAITS_FOR_EVER = [sys.executable, "-c", "import threading; print('ready', flush=True); threading.Event().wait()"]
IGNORES_SIGTERM = [
    sys.executable,
    "-c",
    "import signal, threading; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); threading.Event().wait()",
]


def until(condition: Callable[[], object], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end


def launched(directory: Path, command: list[str]) -> Daemon:
    daemon = Daemon("part", directory, directory / "part.log")
    daemon.launch(command, directory=directory, environment=os.environ)
    until(lambda: "ready" in daemon.last_lines())
    return daemon


def test_a_daemon_is_found_again_by_another_object_and_stopped_by_it(tmp_path: Path) -> None:
    """Its pid is known through the file alone; once stopped it counts as stopped, not as ended."""
    first = launched(tmp_path, WAITS_FOR_EVER)
    other = Daemon("part", tmp_path, tmp_path / "part.log")
    assert first.pid == other.pid is not None
    os.kill(other.pid, 0)
    other.terminate()
    other.wait()
    assert (None, False) == (first.pid, first.ended)


def test_a_daemon_that_is_killed_has_ended_and_may_be_launched_again(tmp_path: Path) -> None:
    """After SIGKILL from outside it has no pid, and counts as ended until the next launch."""
    daemon = launched(tmp_path, WAITS_FOR_EVER)
    pid = daemon.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.pid is None)
    assert daemon.ended
    again = launched(tmp_path, WAITS_FOR_EVER)
    assert again.pid not in (None, pid)
    assert not again.ended
    again.terminate()
    again.wait()


def test_a_daemon_runs_once(tmp_path: Path) -> None:
    """A second launch is refused while the first lives, with its pid, and does not harm it."""
    daemon = launched(tmp_path, WAITS_FOR_EVER)
    with pytest.raises(ServerError, match=f"part runs already, as process {daemon.pid}"):
        Daemon("part", tmp_path, tmp_path / "part.log").launch(["true"], directory=tmp_path, environment={})
    assert daemon.pid is not None
    daemon.terminate()
    daemon.wait()


def test_a_daemon_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the grace time is over `wait` kills it."""
    monkeypatch.setattr("stormline.cluster.daemon.GRACE_S", 1.0)
    daemon = launched(tmp_path, IGNORES_SIGTERM)
    daemon.terminate()
    daemon.wait()
    assert daemon.pid is None


def test_two_parts_on_one_port_are_refused() -> None:
    """The port is named, with both keys."""
    with pytest.raises(SettingsError, match='port 9092 twice: "kafka_port" and "redis_port"'):
        Settings(redis_port=9092).check()


def test_a_path_with_a_space_is_refused(tmp_path: Path) -> None:
    """Storm splits its workers' options at spaces: said before anything is written."""
    layout = Layout(tmp_path / "my project", tmp_path / "jars", Settings())
    with pytest.raises(SettingsError, match="Storm splits the options of its workers at spaces"):
        layout.write()
    assert [] == list(tmp_path.iterdir())


def test_without_java_and_maven_both_are_told_with_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` refuses with both faults at once, `status` shows them; each has a line for Debian, Fedora and macOS."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    cluster = Cluster(tmp_path / "cluster", tmp_path / "jars", Settings())
    with pytest.raises(SettingsError) as caught:
        cluster.up()
    assert cluster.status().missing == list(caught.value.faults)
    java, maven = caught.value.faults
    for line in ("apt install openjdk-17", "dnf install java-17-openjdk", "brew install openjdk@17"):
        assert line in java
    for line in ("apt install maven", "dnf install maven", "brew install maven"):
        assert line in maven
    assert not (tmp_path / "cluster").exists()


@pytest.mark.parametrize(
    ("said", "programs", "expected"),
    [
        ('openjdk version "11.0.2" 2019-01-15', ["java", "javac"], "Java 11.0.2"),
        ('java version "1.8.0_392"', ["java", "javac"], "is too old"),
        ('openjdk version "17.0.15" 2025-04-15', ["java"], "no javac"),
        ('openjdk version "21" 2023-09-19', ["java", "javac"], None),
    ],
)
def test_java_is_judged_by_its_version_and_its_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, programs: list[str], expected: str | None
) -> None:
    """Older than 17, or without a compiler, it is refused by name; newer will do."""
    (tmp_path / "bin").mkdir()
    for name in programs:
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    java = needs.look()[0]
    if expected is None:
        assert java.fault is None
    else:
        assert expected in (java.fault or "")


def test_the_section_cluster_is_checked_like_the_rest_of_the_file(tmp_path: Path) -> None:
    """A typo, a port 0 and an empty list of worker ports are three faults, told at once."""
    content = {"envs": {}, "cluster": {"nimbus_prot": 1, "redis_port": 0, "worker_ports": []}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError) as caught:
        config.load(tmp_path)
    told = "\n".join(caught.value.faults)
    assert 3 == len(caught.value.faults)
    assert 'cluster.nimbus_prot is an unknown key; did you mean "nimbus_port"?' in told
    assert "cluster.redis_port must be a port, 1 to 65535, got 0" in told
    assert "cluster.worker_ports must be a list of ports" in told


def test_the_environment_cluster_points_at_the_ports_of_the_cluster() -> None:
    """What config.json says of the environment `cluster` are the ports which `up` uses."""
    project = config.find_project(Path(__file__))
    settings = Settings(**project.cluster)
    env = project.environment("cluster")
    nimbus = json.loads((project.root / "config.json").read_text())["envs"]["cluster"]["nimbus"]
    assert f"localhost:{settings.nimbus_port}" == nimbus
    assert f"127.0.0.1:{settings.kafka_port}" == str(env.kafka)
    assert f"redis://127.0.0.1:{settings.redis_port}/0" == env.redis


def test_status_of_a_cluster_that_never_was_is_all_stopped_and_makes_nothing(tmp_path: Path) -> None:
    """Exit code 1, five parts stopped, in words and as JSON; `down` has nothing to do and succeeds."""
    (tmp_path / "config.json").write_text('{"envs": {}}')
    run = CliRunner().invoke
    words = run(commands.sparse, ["--project", str(tmp_path), "status"])
    assert 1 == words.exit_code
    assert 5 == words.output.count(" stopped ")
    found = json.loads(run(commands.sparse, ["--project", str(tmp_path), "status", "--json"]).stdout)
    assert {"stopped"} == {part["state"] for part in found["parts"]}
    assert [2181, 6627, 6628, 9092, 6379] == [part["port"] for part in found["parts"]]
    assert 0 == run(commands.sparse, ["--project", str(tmp_path), "down"]).exit_code
    assert ["config.json"] == [path.name for path in tmp_path.iterdir()]
