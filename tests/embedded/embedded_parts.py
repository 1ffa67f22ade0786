"""A process of its own that owns embedded servers, and what can be seen of them from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from stormline.embedded import servers
from stormline.embedded.servers import EmbeddedServers

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


def eventually(condition: Callable[[], object], within_s: float = 60) -> None:
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


def addresses(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / servers.ADDRESSES).read_text())
    return content


def client_of(running: EmbeddedServers | str) -> redis.Redis:
    url = running if isinstance(running, str) else running.redis_url
    return redis.Redis.from_url(url, decode_responses=True)
