"""The pair of embedded servers: one owner at a time, restarted when they die, gone when their owner is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from stormline.core.errors import ServerError, SettingsError
from stormline.embedded import lock, ports, servers
from stormline.embedded.servers import EmbeddedServers

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows"),
]

BOTH = pytest.param(
    False,
    id="both",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("stormline.embedded.kafka.__main__") is None, reason="the broker is not there"
    ),
)
REDIS_ONLY = pytest.param(True, id="redis")

OWNER = """
import sys
from pathlib import Path
from stormline.embedded.servers import EmbeddedServers
kind = sys.argv[2]
if kind == "attach":
    servers = EmbeddedServers.attach_or_start(Path(sys.argv[1]))
else:
    servers = EmbeddedServers.start(Path(sys.argv[1]), redis_only=kind == "redis")
print(servers.redis_url, flush=True)
sys.stdin.readline()
servers.stop()
"""


def eventually(condition: Callable[[], object], within_s: float = 20) -> None:
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.01)


def run_owner(directory: Path, kind: str = "redis") -> subprocess.Popen[str]:
    """Another process, leader of its own group, that runs the servers of `directory` until it gets a line of input."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def url_of(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout is not None
    return owner.stdout.readline().strip()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is counted as a full run (not a brief one), though it has Redis alone to be quick."""
    with run_owner(tmp_path) as process:
        yield process
        process.kill()


def addresses(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / servers.ADDRESSES).read_text())
    return content


def alive_in_group(group: int) -> list[str]:
    """The processes of a group, without those that have ended and wait for a parent to ask."""
    table = subprocess.run(["ps", "-A", "-o", "pgid=,state=,args="], capture_output=True, text=True, check=True).stdout
    rows = [row.split(None, 2) for row in table.splitlines()]
    return [row[-1] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def client_of(running: EmbeddedServers | str) -> redis.Redis:
    url = running if isinstance(running, str) else running.redis_url
    return redis.Redis.from_url(url, decode_responses=True)


def kill_redis(running: EmbeddedServers) -> None:
    """SIGKILL the Redis of `running`, and return when its guard has noticed."""
    with client_of(running) as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGKILL)
    process = running._watched[-1].process
    eventually(lambda: process.poll() is not None)


@pytest.mark.parametrize("redis_only", [REDIS_ONLY, BOTH])
@pytest.mark.parametrize("whole_group", [False, True])
def test_servers_of_a_killed_owner_go_and_their_data_stays(tmp_path: Path, redis_only: bool, whole_group: bool) -> None:
    """After SIGKILL of the owner, or of its whole group, the next start waits for the old servers and has all."""
    with run_owner(tmp_path, "redis" if redis_only else "both") as owner:
        url = url_of(owner)
        with client_of(url) as client:
            client.set("kept", "yes")
        before = addresses(tmp_path)
        if whole_group:
            os.killpg(owner.pid, signal.SIGKILL)
        else:
            owner.kill()
        # At once: the owner may still be there for an instant.
        with EmbeddedServers.start(tmp_path, redis_only=redis_only) as running:
            for name in ("redis",) if redis_only else ("redis", "kafka"):
                assert not alive_in_group(before[name]["group"])
                assert not ports.is_taken(before[name]["port"])
            with client_of(running) as client:
                assert client.get("kept") == "yes"


@pytest.mark.parametrize("redis_only", [REDIS_ONLY, BOTH])
def test_started_servers_answer_at_once(tmp_path: Path, redis_only: bool) -> None:
    """When `start` returns, every address can be connected to; after `stop`, none."""
    with EmbeddedServers.start(tmp_path, redis_only=redis_only) as running:
        with client_of(running) as client:
            assert client.ping()
        addressed = [running.redis_url.split("/")[2]] + ([] if redis_only else [running.kafka])
        for address in addressed:
            host, port = address.split(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        assert running.check() == []
    for address in addressed:
        assert not ports.is_taken(int(address.split(":")[1]))


def test_a_killed_redis_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    """`check` restarts a server that died, and says so in a line."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as running:
        url = running.redis_url
        with client_of(running) as client:
            client.set("kept", "yes")
        kill_redis(running)
        (line,) = running.check()
        assert re.match(r"Redis was killed by signal 9; it runs again on port \d+ with its data", line)
        assert running.redis_url == url
        with client_of(running) as client:
            assert client.get("kept") == "yes"
        assert running.check() == []
        assert addresses(tmp_path)["redis"]["group"] == running._watched[0].process.group


def test_a_server_whose_guard_was_killed_is_replaced(tmp_path: Path) -> None:
    """If somebody kills the guard, `check` ends the server it left and starts one that is guarded again."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as running:
        with client_of(running) as client:
            client.set("kept", "yes")
        process = running._watched[0].process
        os.kill(process.group, signal.SIGKILL)
        eventually(lambda: process.poll() is not None)
        (line,) = running.check()
        assert "its guard was killed by signal 9" in line
        with client_of(running) as client:
            assert client.get("kept") == "yes"


def test_a_server_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    """After three restarts within a minute `check` raises, with the end of the log."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as running:
        for _ in range(servers.RESTARTS):
            kill_redis(running)
            assert len(running.check()) == 1
        kill_redis(running)
        with pytest.raises(ServerError, match="embedded Redis ended 4 times within 60 s; .* signal 9") as given_up:
            running.check()
        assert "Ready to accept connections" in str(given_up.value)
        assert str(tmp_path / "redis.log") in str(given_up.value)


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    """A broken append-only file ends `start` with the log's last lines; no server, lock or address file is left."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as running, client_of(running) as client:
        client.set("kept", "yes")
    (file,) = (tmp_path / "redis" / "appendonlydir").glob("*.incr.aof")
    sound = file.read_bytes()
    file.write_bytes(b"nonsense" + sound)
    with pytest.raises(ServerError, match="(?s)embedded Redis did not start: it ended with status 1.*Bad file format"):
        EmbeddedServers.start(tmp_path, redis_only=True)
    assert not (tmp_path / servers.ADDRESSES).exists()
    file.write_bytes(sound)
    with EmbeddedServers.start(tmp_path, redis_only=True) as running, client_of(running) as client:
        assert client.get("kept") == "yes"


def test_a_port_in_use_is_told_with_its_key_and_its_holder(tmp_path: Path) -> None:
    """A fixed port that is taken is refused before anything starts; the error names port, key, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(SettingsError, match=rf'"redis_port": {port} in config.json: port {port}') as refused:
            EmbeddedServers.start(tmp_path, redis_port=port)
        if sys.platform == "linux":
            assert f"process {os.getpid()} listens on it" in str(refused.value)
        with pytest.raises(SettingsError, match=rf'"kafka_port": {port} in config.json'):
            EmbeddedServers.start(tmp_path, kafka_port=port)
    assert not list(tmp_path.glob("*.log"))
    with EmbeddedServers.start(tmp_path, redis_port=port, redis_only=True) as running:
        assert running.redis_url == f"redis://127.0.0.1:{port}/0"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    """Ports go from 1 to 65535, and 0 stands for any."""
    with pytest.raises(SettingsError, match=f'"redis_port": {port} in config.json is no port'):
        EmbeddedServers.start(tmp_path, redis_port=port, redis_only=True)


def test_a_free_port_that_was_snatched_is_replaced_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody takes the port between the choice and the start, another one is chosen."""
    with socket.create_server(("127.0.0.1", 0)) as thief:
        free = ports.free_port()
        choices = iter([thief.getsockname()[1], free])
        monkeypatch.setattr(ports, "free_port", lambda avoid=(): next(choices))
        with EmbeddedServers.start(tmp_path, redis_only=True) as running:
            assert running.redis_url == f"redis://127.0.0.1:{free}/0"


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
        with pytest.raises(ServerError, match=r"still hold .*lock after 0.5 s.*servers.json"):
            EmbeddedServers.start(tmp_path, redis_only=True, wait_ms=500, on_wait=lines.append)
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


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where the directory should be gives an error in words, not a traceback of the file system."""
    (tmp_path / "data").write_text("")
    with pytest.raises(ServerError, match=r"cannot work in .*data.*(exists|directory)"):
        EmbeddedServers.start(tmp_path / "data", redis_only=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB; needs Linux and the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: a full disk needs Linux and the right to mount a small tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_costs_nothing_acknowledged(small_disk: Path) -> None:
    """When the disk fills up `check` says so and what to do; once there is room, all that was acknowledged is there."""
    directory = small_disk / "embedded"
    acknowledged = 0
    running = EmbeddedServers.start(directory, redis_only=True)
    with running, client_of(running) as client:
        try:
            while True:
                client.set(f"key {acknowledged}", os.urandom(50_000).hex())
                acknowledged += 1
        except redis.RedisError:
            pass
        eventually(lambda: running._watched[0].process.poll() is not None)
        with pytest.raises(ServerError, match=r"the disk under .*embedded is full: \d\.\d MB left.*acknowledged"):
            running.check()
        with pytest.raises(ServerError, match="is full"):
            running.check()
    _fill(small_disk, leaving=0)
    with pytest.raises(ServerError, match="is full"):
        EmbeddedServers.start(directory, redis_only=True)

    subprocess.run(["mount", "-o", "remount,size=48m", str(small_disk)], check=True)
    with EmbeddedServers.start(directory, redis_only=True) as running, client_of(running) as client:
        assert acknowledged > 100
        assert client.dbsize() in (acknowledged, acknowledged + 1)  # the last one may be written, yet not answered
        assert all(client.exists(f"key {number}") for number in range(acknowledged))
        client.set("goes on", "yes")


def test_a_server_ended_by_a_full_disk_returns_when_there_is_room(small_disk: Path) -> None:
    """An owner that stays alive can call `check` again after room was made."""
    running = EmbeddedServers.start(small_disk / "embedded", redis_only=True)
    with running, client_of(running) as client:
        client.set("kept", "yes")
        ballast = _fill(small_disk, leaving=0)
        with pytest.raises(redis.RedisError):
            client.set("lost", "x" * 100_000)
        eventually(lambda: running._watched[0].process.poll() is not None)
        with pytest.raises(ServerError, match="is full"):
            running.check()
        ballast.unlink()
        (line,) = running.check()
        assert "Redis ended with status 1" in line
        assert client.get("kept") == "yes"


def test_a_write_larger_than_the_room_left_is_told_as_a_full_disk(small_disk: Path) -> None:
    """Redis ends, though megabytes are left: `check` says that the disk is full, the next one starts Redis again."""
    running = EmbeddedServers.start(small_disk / "embedded", redis_only=True)
    with running, client_of(running) as client:
        client.set("kept", "yes")
        _fill(small_disk, leaving=5 << 20)
        with pytest.raises(redis.RedisError):
            client.set("lost", "x" * (8 << 20))
        eventually(lambda: running._watched[0].process.poll() is not None)
        with pytest.raises(ServerError, match=r"is full: [45]\.\d MB left"):
            running.check()
        assert len(running.check()) == 1
        assert client.get("kept") == "yes"
        assert client.get("lost") is None


def _fill(disk: Path, leaving: int) -> Path:
    """Leave so many bytes of room on `disk`; the file that takes the others."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - leaving))
    return ballast
