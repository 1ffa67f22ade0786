"""The machine's processes, as far as a cluster has to know them: its workers, and what runs below them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_WORKER = "org.apache.storm.daemon.worker.Worker"


class Process(NamedTuple):
    pid: int
    parent: int
    memory_kb: int
    """Resident set size."""
    command: list[str]


class Worker(NamedTuple):
    pid: int
    topology_id: str
    port: int
    memory_kb: int
    """Of the JVM, its log writer and the components' processes together."""


def table() -> list[Process]:
    """All that this user may see; from /proc where there is one, since ps is not on every machine."""
    return list(_from_proc() if Path("/proc/self/stat").exists() else _from_ps())


def memory_kb(pid: int) -> int:
    return next((process.memory_kb for process in table() if process.pid == pid), 0)


def workers(storm_home: Path) -> list[Worker]:
    """The workers of this cluster, whichever Supervisor, alive or dead, has started them."""
    processes = table()
    found = []
    for process in _jvms(processes, storm_home):
        # LogWriter's arguments are the worker's whole command: only the worker itself has the class as its own.
        if _WORKER in process.command and "org.apache.storm.LogWriter" not in process.command:
            topology_id, _, _, port, _ = process.command[process.command.index(_WORKER) + 1 :][:5]
            memory = process.memory_kb + sum(below.memory_kb for below in _descendants(processes, process.pid))
            memory += sum(other.memory_kb for other in processes if other.pid == process.parent and other.pid > 1)
            found.append(Worker(process.pid, topology_id, int(port), memory))
    return sorted(found, key=lambda worker: worker.port)


def left(storm_home: Path) -> list[Process]:
    """Every process of the cluster's workers: JVMs, log writers, components."""
    processes = table()
    jvms = [process for process in _jvms(processes, storm_home) if _WORKER in process.command]
    found = {process.pid: process for process in jvms}
    for jvm in jvms:
        found |= {below.pid: below for below in _descendants(processes, jvm.pid)}
    return list(found.values())


def _jvms(processes: list[Process], storm_home: Path) -> Iterator[Process]:
    mark = f"-Dstorm.home={storm_home}"
    return (process for process in processes if mark in process.command)


def _descendants(processes: list[Process], pid: int) -> Iterator[Process]:
    for process in processes:
        if process.parent == pid:
            yield process
            yield from _descendants(processes, process.pid)


def _from_proc() -> Iterator[Process]:
    page_kb = os.sysconf("SC_PAGE_SIZE") // 1024
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # stat: pid (name) state ppid ...; the name may hold spaces and brackets.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
            resident = int((folder / "statm").read_text().split()[1]) * page_kb
        except OSError:  # it ended meanwhile
            continue
        if command != [""]:  # a zombie, or the kernel's own
            yield Process(int(folder.name), parent, resident, command)


def _from_ps() -> Iterator[Process]:
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,rss=,command="], stdout=subprocess.PIPE, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, parent, resident, command = line.split(None, 3)
        yield Process(int(pid), int(parent), int(resident), command.split())
