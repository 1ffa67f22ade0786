"""A full disk is told, and costs nothing that was acknowledged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from embedded_parts import client_of, eventually

from stormline.core.errors import ServerError
from stormline.embedded.servers import EmbeddedServers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no embedded servers on Windows")


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
