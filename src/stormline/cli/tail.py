"""`sparse tail`, `logs`, `remove-logs`: the worker logs of a topology, wherever its workers ran."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stormline.cli import nimbus, tables
from stormline.core.errors import SettingsError, StateError

if TYPE_CHECKING:
    from stormline.cluster.topologies import Worker
    from stormline.cluster.worker_logs import LogFile, Place


class Where(NamedTuple):
    """What was said about the places to look at."""

    pattern: str | None
    folder: str | None
    user: str | None
    pool_size: int


def _on_logs(verb: Callable[..., Any]) -> Callable[..., Any]:
    """As `nimbus.on_topology`, and adds what finds the logs: `verb` gets `where`."""

    @click.option("--pattern", help="Only files whose path matches this regular expression somewhere.")
    @click.option("--path", "folder", help="Where the logs are on each machine, if not where Nimbus says.")
    @click.option("-u", "--user", help="Who may read and remove the logs there, by sudo. Default: who logs in.")
    @click.option("--pool-size", type=click.IntRange(1), default=10, show_default=True, help="Machines at a time.")
    @nimbus.on_topology
    @functools.wraps(verb)
    def located(
        at: nimbus.Target, /, pattern: str | None, folder: str | None, user: str | None, pool_size: int, **options: Any
    ) -> None:
        verb(at, where=Where(pattern, folder, user, pool_size), **options)

    return located


@click.command(short_help="Show the end of a topology's worker logs, or follow them.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("-l", "--num-lines", type=click.IntRange(0), default=10, show_default=True, help="Lines of each file.")
@_on_logs
def tail(at: nimbus.Target, name: str, where: Where, follow: bool, num_lines: int, as_json: bool) -> None:
    """Show the last lines of the logs of a topology's workers: what its components log, print, and die of.

    They are read on the machines of the workers, through ssh or here if they are here; or from the logviewer if the
    environment has "logviewer.port". With --json each line is an object of its own.
    """
    from stormline.cluster import worker_logs

    show = _shower(as_json=as_json)
    port = at.environment.stock.get("logviewer.port")
    if port:
        if follow:
            raise SettingsError('a logviewer cannot be followed: use ssh, without "logviewer.port" in the environment')
        for worker, text in _viewed(at, name, port):
            for line in text.splitlines()[-num_lines:] if num_lines else ():
                show(worker.host, f"{worker.topology_id}/{worker.port}/worker.log", line)
        return
    place = _place(at, where)
    found = _newest(_found(place, name, where.pattern))

    def told(file: LogFile, line: str) -> None:
        show(file.host, file.path, line)

    if follow:
        worker_logs.follow(place, found, num_lines, told)
    worker_logs.tail(place, found, num_lines, told)


@click.command(short_help="List a topology's worker logs, or fetch them.")
@click.option("--to", "target", type=click.Path(file_okay=False, path_type=Path), help="Copy them into this folder.")
@_on_logs
def logs(at: nimbus.Target, name: str, where: Where, target: Path | None, as_json: bool) -> None:
    """List the log files of a topology's workers, those of earlier runs too, or copy them here with --to."""
    from stormline.cluster import worker_logs

    port = at.environment.stock.get("logviewer.port")
    if port:
        if target is None:
            raise SettingsError('a logviewer lists nothing: say --to FOLDER, or leave out "logviewer.port" and use ssh')
        for worker, text in _viewed(at, name, port):
            copy = target / worker.host / worker.topology_id / str(worker.port) / "worker.log"
            _write(copy, text, as_json=as_json)
        return
    place = _place(at, where)
    found = _found(place, name, where.pattern)
    if target is not None:
        for file in found:
            text = worker_logs.content(place, file)
            _write(target / file.host / file.path.lstrip("/"), text, as_json=as_json)
    elif as_json:
        tables.tell_json(found)
    else:
        now = time.time()
        rows = [
            (file.host, file.path, f"{file.bytes:,}", f"{tables.duration(max(0, now - file.changed_s))} ago")
            for file in found
        ]
        tables.show("", ("host", "file", "bytes", "written"), rows, left=2)


@click.command("remove-logs", short_help="Remove a topology's worker logs.")
@click.option("-A", "--remove-all-artifacts", is_flag=True, help="And whatever else the workers left beside them.")
@_on_logs
def remove_logs(at: nimbus.Target, name: str, where: Where, remove_all_artifacts: bool, as_json: bool) -> None:
    """Remove the worker logs of a topology on all machines. Those of a topology that runs are emptied instead: its
    workers hold them open.
    """
    from stormline.cluster import topologies, worker_logs

    if at.environment.stock.get("logviewer.port"):
        raise SettingsError('a logviewer removes nothing: use ssh, without "logviewer.port" in the environment')
    place = _place(at, where)
    found = _found(place, name, where.pattern, artifacts=remove_all_artifacts)
    with nimbus.leader(at) as client:
        running = {each.id for each in topologies.listed(client) if each.name == name}
    # What is no log of a running worker (its pid, its configuration) is still needed.
    found = [file for file in found if file.topology_id not in running or ".log" in file.path.rpartition("/")[2]]
    removed, emptied = worker_logs.remove(place, found, running)
    if as_json:
        tables.tell_json({"removed": removed, "emptied": emptied})
        return
    for what, files in (("removed", removed), ("emptied, as it runs", emptied)):
        if files:
            click.echo(f"{len(files)} files of {name} {what}: {sum(file.bytes for file in files):,} bytes")


def _place(at: nimbus.Target, where: Where) -> Place:
    """The machines by `workers` of the environment, else those that Nimbus knows."""
    from stormline.cluster import topologies, worker_logs

    stock = at.environment.stock
    machines, folders = stock.get("workers") or [], [where.folder] if where.folder else []
    if not machines or not folders:
        with nimbus.leader(at) as client:
            machines = machines or sorted({each.host for each in client.getClusterInfo().supervisors})
            folders = folders or worker_logs.conf_folders(topologies.nimbus_conf(client))
    log = stock.get("log") or {}
    own = log.get("path") or stock.get("log_path")
    if own and not where.folder:
        folders = [*folders, str(own)]
    if not folders:
        raise SettingsError(
            'where the logs are is not known: Nimbus has no "storm.log.dir". Say --path FOLDER, or set "log_path" of '
            f'environment "{at.environment.name}" in config.json'
        )
    if not machines:
        raise SettingsError('no machines: "workers" of the environment is empty, and no Supervisor reports to Nimbus')
    user = where.user or stock.get("sudo_user")
    return worker_logs.Place(machines, folders, at.access, user or None, where.pool_size)


def _found(place: Place, name: str, pattern: str | None, *, artifacts: bool = False) -> list[LogFile]:
    from stormline.cluster import worker_logs

    try:
        found = worker_logs.find(place, name, pattern=pattern, artifacts=artifacts)
    except re.error as error:
        raise click.BadParameter(f"{pattern!r}: {error}", param_hint="--pattern") from error
    if not found:
        matching = f" matching {pattern!r}" if pattern else ""
        raise StateError(
            f'no logs of "{name}"{matching} below {", ".join(place.folders)} on {", ".join(place.machines)}. '
            "`sparse list` shows the names on the cluster; --path says where else to look"
        )
    return found


def _newest(files: list[LogFile]) -> list[LogFile]:
    """The logs that are written now: of the last run, not those rotated away."""
    ids = [file.topology_id for file in files if file.topology_id]
    last = max(ids, key=lambda each: [int(part) for part in each.rsplit("-", 2)[1:]], default=None)
    return [file for file in files if file.topology_id in (None, last) and re.search(r"\.log$", file.path)] or files


def _viewed(at: nimbus.Target, name: str, port: int) -> list[tuple[Worker, str]]:
    from stormline.cluster import logviewer, topologies

    with nimbus.leader(at) as client:
        workers = topologies.workers(client, [topologies.find(client, name, killed=True)])
    return [(each, logviewer.content(each.host, port, each.topology_id, each.port)) for each in workers]


def _shower(*, as_json: bool) -> Callable[[str, str, str], None]:
    """Lines under a heading for each change of file, or as JSON."""
    last: tuple[str, str] | None = None

    def show(host: str, path: str, line: str) -> None:
        nonlocal last
        if as_json:
            click.echo(json.dumps({"host": host, "file": path, "line": line}))
            return
        if last != (host, path):
            click.echo(f"{'' if last is None else chr(10)}==> {host}:{path} <==")
            last = host, path
        click.echo(line)

    return show


def _write(path: Path, text: str, *, as_json: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    click.echo(json.dumps({"copy": str(path)}) if as_json else str(path))
