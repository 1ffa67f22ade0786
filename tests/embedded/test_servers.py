"""The pair of embedded servers: restarted when they die, gone when their owner is; and the ports that they get."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from embedded_parts import addresses, client_of, eventually, run_owner, url_of

from stormline.core.errors import ServerError, SettingsError
from stormline.embedded import ports, servers
from stormline.embedded.servers import EmbeddedServers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows")

BOTH = pytest.param(
    False,
    id="both",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("stormline.embedded.kafka.__main__") is None, reason="the broker is not there"
    ),
)

REDIS_ONLY = pytest.param(True, id="redis")


def alive_in_group(group: int) -> list[str]:
    """The processes of a group, without those that have ended and wait for a parent to ask."""
    table = subprocess.run(["ps", "-A", "-o", "pgid=,state=,args="], capture_output=True, text=True, check=True).stdout
    rows = [row.split(None, 2) for row in table.splitlines()]
    return [row[-1] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only one may be bound to a port")
def test_a_look_at_a_port_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that begins to listen while somebody looks whether its port is free gets it."""
    port = ports.free_port()

    class Looking(socket.socket):
        def __exit__(self, *error: object) -> None:
            socket.create_server(("127.0.0.1", port)).close()
            super().__exit__(*error)

    there = SimpleNamespace(socket=Looking, SOL_SOCKET=socket.SOL_SOCKET, SO_REUSEADDR=socket.SO_REUSEADDR)
    monkeypatch.setattr(ports, "socket", there)
    assert not ports.is_taken(port)


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


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where the directory should be gives an error in words, not a traceback of the file system."""
    (tmp_path / "data").write_text("")
    with pytest.raises(ServerError, match=r"cannot work in .*data.*(exists|directory)"):
        EmbeddedServers.start(tmp_path / "data", redis_only=True)
