"""One topology on a cluster, by a client of Nimbus: is the name free, is the old one gone, does the new one run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from stormline.cluster import nimbus, topologies
from stormline.cluster.topologies import Listed
from stormline.core.errors import ServerError, SettingsError

PAUSE_S: Final = 0.25
GONE_WITHIN_S: Final = 60.0
"""How long Nimbus may take to forget a topology, after the seconds that the kill was to wait."""
_ILLEGAL: Final = re.compile(r"[/.:\\]")
Tell = Callable[[str], None]


def require_name(name: str) -> None:
    """Raises SettingsError for a name that Storm would not take."""
    illegal = sorted(set(_ILLEGAL.findall(name)))
    if not name.strip() or illegal:
        raise SettingsError(
            f'"{name}" cannot be the name of a topology: Storm allows no {" ".join(illegal) or "empty one"}; give '
            "another with -n or -N"
        )


def running(client: Any, name: str) -> Listed | None:
    """The topology of this name, or None."""
    return next((each for each in topologies.listed(client) if each.name == name), None)


def hosts(client: Any) -> set[str]:
    """The machines that have a Supervisor."""
    return {each.host for each in client.getClusterInfo().supervisors}


def end(client: Any, name: str, wait_s: int) -> None:
    """Kill it, if it still lives, and return when its name is free. Raises ServerError if that does not come about."""
    found = running(client, name)
    if found is None:
        return
    if found.status != "KILLED":
        nimbus.kill(client, name, wait_s)
    until = time.monotonic() + wait_s + GONE_WITHIN_S
    while running(client, name) is not None:
        if time.monotonic() > until:
            raise ServerError(f"{name} was killed and is still in Nimbus's list; see Nimbus's log", retriable=True)
        time.sleep(PAUSE_S)


class Progress(NamedTuple):
    """What Nimbus knows of a topology that starts; tasks of the ackers and other system components are counted too."""

    executors: int
    running: int
    """Those that have reported."""
    acked: int
    """By spouts, as far as counted: Storm counts a sample of them."""
    errors: tuple[str, ...]
    """component: the last line of an error, newest first."""


def progress(client: Any, name: str) -> Progress | None:
    """None while Nimbus does not know of it."""
    found = running(client, name)
    if found is None:
        return None
    info = client.getTopologyInfo(found.id)
    acked = 0
    for executor in info.executors:
        spout = executor.stats.specific.spout if executor.stats else None
        if spout:
            acked += sum(spout.acked.get(":all-time", {}).values())
    errors = sorted(
        ((each.error_time_secs, component, each.error) for component, all_ in info.errors.items() for each in all_),
        reverse=True,
    )
    lines = tuple(f"{component}: {error.strip()}" for _, component, error in errors)
    return Progress(len(info.executors), sum(each.stats is not None for each in info.executors), acked, lines)


def wait_until_runs(client: Any, name: str, *, within_s: float, enough: Callable[[], bool], tell: Tell) -> bool:
    """Until all executors have reported and a first tuple is acked, or they have and it is `enough`; new errors are
    told. False if they all run, but nothing is acked within the time. Raises ServerError if not all of them run."""
    until = time.monotonic() + within_s
    told, seen = "", set[str]()
    while True:
        now = progress(client, name)
        all_run = False
        line = "Nimbus has not assigned it yet" if now is None or not now.executors else ""
        if now is not None and now.executors:
            line = f"{now.running} of {now.executors} executors run"
            for error in now.errors:
                if error not in seen:
                    seen.add(error)
                    tell(error)
            all_run = now.running == now.executors
            if all_run and (now.acked or enough()):
                tell(f"{name}: {line}" + (", and a first tuple is acked" if now.acked else ""))
                return True
        if line != told:
            told = line
            tell(f"{name}: {line}")
        if time.monotonic() > until:
            if all_run:
                return False
            raise ServerError(
                f"{name} is submitted, but after {within_s:.0f} s: {line}. `sparse stats -n {name}` shows what it "
                "does; a cluster with too few free slots, or a worker that ends again and again, is the usual reason"
            )
        time.sleep(PAUSE_S)
