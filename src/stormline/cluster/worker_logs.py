"""The logs of a topology on the machines of its workers: found, read, followed, removed, by `find` and `tail` there.

ARTIFACTS/TOPOLOGY-ID/PORT/worker.log[.1 ...]      what components say, and the worker itself
LOG-PATH/pystorm_TOPOLOGY_COMPONENT_TASK_PID.log   of stock components, if the environment sets a log path
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from stormline.cluster import hosts
from stormline.cluster.ssh import Ssh
from stormline.core.errors import ServerError

_HEADING: Final = re.compile(r"==> (.+) <==")


class Place(NamedTuple):
    """Where the logs of a cluster's workers are."""

    machines: Sequence[str]
    folders: Sequence[str]
    """Absolute, the same on each host."""
    access: Ssh
    user: str | None = None
    """Who may read and remove them, by sudo; None: who logs in."""
    pool_size: int = hosts.POOL_SIZE


class LogFile(NamedTuple):
    """`changed_s`: seconds since 1970. `topology_id`: None for a file of pystorm, which does not tell."""

    host: str
    path: str
    bytes: int
    changed_s: int
    topology_id: str | None


def conf_folders(conf: dict[str, Any]) -> list[str]:
    """The artifacts' folder as Nimbus's configuration has it; none if it follows from where Storm lies there."""
    artifacts = PurePosixPath(conf.get("storm.workers.artifacts.dir") or "workers-artifacts")
    base = str(conf.get("storm.log.dir") or "")
    return [str(PurePosixPath(base) / artifacts)] if base or artifacts.is_absolute() else []


def find(place: Place, name: str, *, pattern: str | None = None, artifacts: bool = False) -> list[LogFile]:
    """The logs of the topology `name`, also of earlier runs; with `artifacts` whatever lies beside them.

    `pattern`: a regular expression that a path must match somewhere. Raises ServerError if a host cannot be asked.
    """
    wanted = re.compile(rf"/({re.escape(name)}-\d+-\d+)/[^/]+/[^/]+$|/pystorm_{re.escape(name)}_[^/]*\.log[^/]*$")
    each = 'printf "%s %s %s\\n" "$(wc -c < "$f")" "$(date -r "$f" +%s)" "$f"'
    folders = " ".join(map(shlex.quote, place.folders))
    # A folder may be absent where no worker ran; find then has no other fault to tell.
    command = f"find {folders} -maxdepth 4 -type f 2>/dev/null | while IFS= read -r f; do {each}; done"

    def on(host: str) -> list[LogFile]:
        found = []
        for line in hosts.run(host, _by(place, command), place.access).splitlines():
            size, changed, path = line.split(None, 2)
            match = wanted.search(path)
            if match is None or (pattern and not re.search(pattern, path)):
                continue
            if artifacts or ".log" in path.rpartition("/")[2]:
                found.append(LogFile(host, path, int(size), int(changed), match.group(1)))
        return found

    return sorted(file for files in hosts.on_each(place.machines, on, place.pool_size) for file in files)


def content(place: Place, file: LogFile) -> str:
    return hosts.run(file.host, _by(place, f"cat {shlex.quote(file.path)}"), place.access)


def tail(place: Place, files: Sequence[LogFile], lines: int, show: Callable[[LogFile, str], None]) -> None:
    """The last lines of each file, file by file."""
    for file in files:
        command = f"tail -n {lines} {shlex.quote(file.path)}"
        for line in hosts.run(file.host, _by(place, command), place.access).splitlines():
            show(file, line)


def follow(place: Place, files: Sequence[LogFile], lines: int, show: Callable[[LogFile, str], None]) -> None:
    """The last lines of each file and then what comes, until interrupted. Raises ServerError when a host's ends."""
    by_host: dict[str, list[LogFile]] = {}
    for file in files:
        by_host.setdefault(file.host, []).append(file)
    lines_read: SimpleQueue[tuple[LogFile, str] | str] = SimpleQueue()
    processes = {}
    try:
        for host, on_it in by_host.items():
            paths = " ".join(shlex.quote(file.path) for file in on_it)
            # -F: by name, so that it goes on in the new file when the old one is rotated away.
            processes[host] = hosts.start(host, _by(place, f"tail -n {lines} -F {paths} 2>/dev/null"), place.access)
            reader = threading.Thread(target=_read, args=(processes[host].stdout, on_it, lines_read), daemon=True)
            reader.start()
        while not isinstance(read := lines_read.get(), str):
            show(*read)
        raise ServerError(f"following the logs on {read} has ended: the connection, or `tail` there")
    finally:
        for process in processes.values():
            hosts.stop(process)


def remove(place: Place, files: Sequence[LogFile], running: Collection[str]) -> tuple[list[LogFile], list[LogFile]]:
    """(removed, emptied): a worker of a topology in `running` still writes to its files, so they are emptied."""
    removed = [file for file in files if file.topology_id is not None and file.topology_id not in running]
    removed += [file for file in files if file.topology_id is None and not running]
    emptied = [file for file in files if file not in removed]

    def on(host: str) -> None:
        for what, command in ((removed, 'rm -f -- "$f"'), (emptied, ': > "$f"')):
            paths = [file.path for file in what if file.host == host]
            if paths:
                told = "".join(f"{path}\n" for path in paths)
                loop = f"while IFS= read -r f; do {command} || exit 1; done"
                hosts.run(host, _by(place, loop), place.access, stdin=told)
        folders = {
            str(PurePosixPath(file.path).parents[1]) for file in removed if file.host == host if file.topology_id
        }
        if folders:
            quoted = " ".join(map(shlex.quote, sorted(folders)))
            hosts.run(host, _by(place, f"find {quoted} -depth -type d -empty -exec rmdir {{}} \\;"), place.access)

    hosts.on_each(place.machines, on, place.pool_size)
    return removed, emptied


def _read(pipe: Any, files: Sequence[LogFile], lines: SimpleQueue[tuple[LogFile, str] | str]) -> None:
    """`tail` says which file is next in a heading of its own, if there are several."""
    by_path = {file.path: file for file in files}
    current, blank = files[0], False
    for raw in pipe:
        line = raw.rstrip("\n")
        heading = _HEADING.fullmatch(line)
        if heading is not None and heading.group(1) in by_path:
            current, blank = by_path[heading.group(1)], False
            continue
        if blank:
            lines.put((current, ""))
        blank = line == ""  # it may belong to a heading that follows
        if not blank:
            lines.put((current, line))
    lines.put(files[0].host)


def _by(place: Place, command: str) -> str:
    return hosts.as_user(command, place.user, place.access.user)
