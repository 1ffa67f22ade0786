"""A guarded server process never outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stormline.embedded import process
from stormline.embedded.process import GuardedProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows")

SERVER = """
import os, signal, sys
from pathlib import Path
here = Path(sys.argv[1])
def stop(*_):
    (here / "stopped").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else stop)
print("started", flush=True)
(here / "pid.new").write_text(str(os.getpid()))
(here / "pid.new").rename(here / "pid")
while True:
    signal.pause()
"""

OWNER = """
import os, sys
from pathlib import Path
from stormline.embedded.process import GuardedProcess
guarded = GuardedProcess(sys.argv[2:], log=Path(sys.argv[1]))
if os.environ.get("FORK") and os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(guarded.group, flush=True)
sys.stdin.read()
"""


def eventually(condition: Callable[[], object], within_s: float = 60) -> None:
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.01)


def is_gone(pid: int) -> bool:
    """No such process, or only its status is left for a parent that does not ask."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] in ("", "Z")


def server(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-c", SERVER, str(directory), *words]


def pid_of_server(directory: Path) -> int:
    eventually((directory / "pid").exists)
    return int((directory / "pid").read_text())


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, leader of its own group, that owns a stand-in server in tmp_path."""
    yield from _owner(tmp_path, {})


@pytest.fixture
def forking_owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Like `owner`; it also has a forked child, which lives as long as its standard input is open."""
    yield from _owner(tmp_path, {"FORK": "1"})


def _owner(directory: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory / "log"), *server(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    ) as owner:
        yield owner
        owner.kill()


def group_of(owner: subprocess.Popen[str]) -> int:
    assert owner.stdout is not None
    return int(owner.stdout.readline())


def test_a_server_is_stopped_by_sigterm_when_its_owner_says_so(tmp_path: Path) -> None:
    """`terminate` and `wait` return when the server has ended cleanly."""
    guarded = GuardedProcess(server(tmp_path), log=tmp_path / "log")
    pid = pid_of_server(tmp_path)
    assert guarded.poll() is None
    guarded.terminate()
    guarded.wait()
    assert is_gone(pid)
    assert (tmp_path / "stopped").exists()


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    """Stopping a server is bounded, whatever the server does."""
    guarded = GuardedProcess(server(tmp_path, "stubborn"), log=tmp_path / "log", grace_s=1)
    pid = pid_of_server(tmp_path)
    guarded.terminate()
    guarded.wait()
    assert is_gone(pid)
    assert guarded.poll() == 128 + signal.SIGKILL


def test_a_server_stops_cleanly_when_its_owner_is_killed(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    """SIGKILL of the owner ends the server by SIGTERM, and its guard too."""
    pid, group = pid_of_server(tmp_path), group_of(owner)
    owner.kill()
    eventually(lambda: is_gone(pid) and is_gone(group))
    assert (tmp_path / "stopped").exists()


def test_killing_the_owners_whole_group_does_not_kill_the_server_in_its_tracks(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    """SIGKILL of the owner's process group leaves guard and server alive long enough to stop cleanly."""
    pid = pid_of_server(tmp_path)
    os.killpg(owner.pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid))
    assert (tmp_path / "stopped").exists()


def test_a_server_whose_guard_was_killed_still_ends_with_its_owner(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    """The guard is two processes, so killing it first does not leave the server behind."""
    pid, group = pid_of_server(tmp_path), group_of(owner)
    os.kill(group, signal.SIGKILL)
    assert not is_gone(pid)
    owner.kill()
    eventually(lambda: is_gone(pid))
    assert (tmp_path / "stopped").exists()


def test_a_forked_child_of_the_owner_does_not_keep_the_server(
    tmp_path: Path, forking_owner: subprocess.Popen[str]
) -> None:
    """The write end of the guard's pipe is the owner's alone, also when it forks."""
    pid, _ = pid_of_server(tmp_path), group_of(forking_owner)
    forking_owner.kill()
    eventually(lambda: is_gone(pid))


def test_a_second_server_does_not_keep_the_first(tmp_path: Path) -> None:
    """Servers started later inherit no end of an earlier one's pipe."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first = GuardedProcess(server(tmp_path / "1"), log=tmp_path / "log", grace_s=60)
    second = GuardedProcess(server(tmp_path / "2"), log=tmp_path / "log")
    pid, other = pid_of_server(tmp_path / "1"), pid_of_server(tmp_path / "2")
    first.terminate()
    eventually(lambda: is_gone(pid))  # within less than the guard's grace, and no SIGKILL from `wait`
    assert not is_gone(other)
    second.terminate()
    second.wait()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_server_inherits_only_what_it_is_given(tmp_path: Path) -> None:
    """A server has its three standard descriptors and those handed on, nothing else of the owner's or the guard's."""
    read_end, write_end = os.pipe()
    given = process.inheritable_copy(write_end)
    guarded = GuardedProcess(server(tmp_path), log=tmp_path / "log", inherit=[given])
    pid = pid_of_server(tmp_path)
    assert {int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir()} == {0, 1, 2, given}
    for fd in (read_end, write_end, given):
        os.close(fd)
    guarded.terminate()
    guarded.wait()


def test_how_a_server_ended_is_told(tmp_path: Path) -> None:
    """`poll` gives the exit status, or 128 + N after signal N, and `last_lines` the end of this run's log."""
    command = ["/bin/sh", "-c", "echo one; echo two >&2; exit 3"]
    (tmp_path / "log").write_text("of an earlier run\n")
    guarded = GuardedProcess(command, log=tmp_path / "log")
    eventually(lambda: guarded.poll() is not None)
    assert guarded.poll() == 3
    assert guarded.last_lines() == "one\ntwo"
    assert guarded.last_lines(1) == "two"

    guarded = GuardedProcess(server(tmp_path), log=tmp_path / "log")
    os.kill(pid_of_server(tmp_path), signal.SIGKILL)
    eventually(lambda: guarded.poll() is not None)
    assert guarded.poll() == 128 + signal.SIGKILL


def test_an_owner_that_finds_the_guard_dead_ends_the_server(tmp_path: Path) -> None:
    """A guard of which every process was killed leaves no server once its owner has looked."""
    guarded = GuardedProcess(server(tmp_path, "stubborn"), log=tmp_path / "log")
    pid = pid_of_server(tmp_path)
    table = subprocess.run(["ps", "-A", "-o", "pgid=,pid="], capture_output=True, text=True, check=True).stdout
    for group, member in (map(int, row.split()) for row in table.splitlines()):
        if group == guarded.group and member != pid:
            os.kill(member, signal.SIGKILL)
    eventually(lambda: guarded.poll() is not None)
    assert guarded.poll() == -signal.SIGKILL
    eventually(lambda: is_gone(pid))


def test_a_long_log_is_set_aside(tmp_path: Path) -> None:
    """Logs do not grow for ever: beyond the limit the file is moved to NAME.old at the next start."""
    log = tmp_path / "log"
    log.write_bytes(b"x" * (process.LOG_LIMIT + 1))
    guarded = GuardedProcess(["/bin/sh", "-c", "echo new"], log=log)
    eventually(lambda: guarded.poll() is not None)
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.old").stat().st_size == process.LOG_LIMIT + 1
