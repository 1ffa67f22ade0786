"""Ports on the loopback interface: a free one, or who has the one that was asked for."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

from stormline.core.errors import SettingsError

HOST = "127.0.0.1"

# Below the ports which Linux (32768 up) and macOS (49152 up) give to outgoing connections: one of those, even a
# client's own attempt to come back, could otherwise sit on the port of a server that is to be restarted on it.
_CANDIDATES = range(20_000, 30_000)


def is_taken(port: int) -> bool:
    """Whether a server could not listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not count
        try:
            probe.bind((HOST, port))  # and no listen: that would be in the way of a server that starts at this moment
        except OSError:
            return True
    return False


def free_port(avoid: Collection[int] = ()) -> int:
    """A port nobody listens on now, by chance one of ten thousand; none of `avoid`."""
    # Of the system's own randomness: two programs with one seed would ask for the same ports at the same moment.
    for port in random.SystemRandom().sample(_CANDIDATES, 200):
        if port not in avoid and not is_taken(port):
            return port
    raise SettingsError(f"no free port found between {_CANDIDATES[0]} and {_CANDIDATES[-1]} of {HOST}")


def require_free(port: int, key: str) -> None:
    """SettingsError if `port`, set by `key` of the environment in config.json, is no port or is taken."""
    if not 0 < port < 65536:
        raise SettingsError(f'"{key}": {port} in config.json is no port; use 1 to 65535, or 0 for any free one')
    if is_taken(port):
        raise SettingsError(
            f'"{key}": {port} in config.json: port {port} of {HOST} cannot be had, {holder(port)}. '
            f'Stop that program, or set another port ("{key}": 0 takes a free one)'
        )


def holder(port: int) -> str:
    """Who listens on `port`, in words."""
    for inode in _listening_inodes(port):
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if link.readlink().name != f"socket:[{inode}]":
                    continue
                process = link.parents[1]
                command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:  # it ended meanwhile, or belongs to another user
                continue
            return f"process {process.name} listens on it ({command[:120]})"
    return f"another program has it (`lsof -i :{port}` may tell which)"


def _listening_inodes(port: int) -> set[str]:
    """The sockets that listen on `port`, from Linux's table (proc(5): columns local address, state, inode)."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes
