"""One owner at a time: who comes second waits, is refused, or attaches to what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_parts import OWNER, addresses, client_of, run_owner, url_of

from stormline.core.errors import ServerError
from stormline.embedded import lock, servers
from stormline.embedded.servers import EmbeddedServers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows")


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is counted as a full run (not a brief one), though it has Redis alone to be quick."""
    with run_owner(tmp_path) as process:
        yield process
        process.kill()


def test_a_second_run_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """One owner at a time: the error of the second names the process of the first, which is not disturbed."""
    held = lock.DirectoryLock.acquire(tmp_path)
    assert held is not None
    command = [sys.executable, "-c", OWNER, str(tmp_path), "redis"]
    second = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True)
    assert f"in use by the running process {os.getpid()}".encode() in second.stderr
    held.release()


def test_a_run_waits_for_a_brief_owner(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    """Somebody who only reads results holds a new run up until it is done, and does not make it fail."""
    url_of(owner)
    lines: list[str] = []

    def go_on(line: str) -> None:
        lines.append(line)
        owner.communicate("\n")

    with EmbeddedServers.start(tmp_path, redis_only=True, on_wait=go_on):
        assert lines == [f"Waiting for process {owner.pid} to let go of {tmp_path}"]


def test_the_wait_for_a_brief_owner_is_bounded(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    """A brief owner that stays is named in the end."""
    url_of(owner)
    with pytest.raises(ServerError, match=f"in use by the running process {owner.pid}"):
        EmbeddedServers.start(tmp_path, wait_ms=400)


def test_the_wait_for_servers_left_behind_is_bounded_and_told(tmp_path: Path) -> None:
    """Servers that do not stop although their owner has gone: one line while waiting, then an error that says where."""
    held = lock.DirectoryLock.acquire(tmp_path)
    assert held is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[held.fd]) as left_behind:
        held.release()
        lines: list[str] = []
        with pytest.raises(ServerError, match=r"still hold .*lock after 2 s.*servers.json"):
            EmbeddedServers.start(tmp_path, redis_only=True, wait_ms=2_000, on_wait=lines.append)
        assert lines == [f"Waiting for the servers of an earlier run to let go of {tmp_path}"]
        left_behind.communicate()
    with EmbeddedServers.start(tmp_path, redis_only=True):
        pass


def test_others_attach_to_running_servers(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    """`attach_or_start` finds the Redis of a live owner, and leaves it alone when done."""
    url = url_of(owner)
    with EmbeddedServers.attach_or_start(tmp_path) as attached:
        assert attached.redis_url == url
        assert attached.check() == []
    with client_of(url) as client:
        assert client.ping()
    with pytest.raises(ServerError, match="not Kafka"):
        _ = attached.kafka


def test_without_running_servers_attaching_starts_redis_alone(tmp_path: Path) -> None:
    """`attach_or_start` on data that nobody serves starts Redis, also if an old address file is left, and stops it."""
    (tmp_path / servers.ADDRESSES).write_text('{"owner": 1, "redis": {"port": 1, "group": 1}}\n')
    with EmbeddedServers.attach_or_start(tmp_path) as started, client_of(started) as client:
        assert client.ping()
        assert set(addresses(tmp_path)) == {"owner", "redis"}
    assert not (tmp_path / servers.ADDRESSES).exists()
    assert not (tmp_path / "kafka").exists()


def test_a_forked_child_does_not_touch_the_servers(tmp_path: Path) -> None:
    """`check` and `stop` in a forked child of the owner do nothing."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as running:
        child = os.fork()
        if child == 0:
            try:
                running.check()
                running.stop()
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert running.check() == []
        with client_of(running) as client:
            assert client.ping()
        assert (tmp_path / servers.ADDRESSES).exists()
