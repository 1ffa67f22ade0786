"""What Nimbus tells of the topologies it runs, and what can be asked of one. `client` is that of `connect_leader`."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stormline.cluster import nimbus
from stormline.core.errors import SettingsError, StateError

LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF", "ALL")
"""Those of log4j, which workers write with."""


class Listed(NamedTuple):
    """One topology. `status`: ACTIVE, INACTIVE, KILLED or REBALANCING."""

    name: str
    id: str
    status: str
    uptime_s: int
    workers: int
    executors: int
    tasks: int
    owner: str | None


class Worker(NamedTuple):
    """One worker process of a topology."""

    topology: str
    topology_id: str
    host: str
    port: int
    supervisor_id: str
    uptime_s: int
    executors: int


class Slots(NamedTuple):
    """The slots of one machine. `topologies`: name -> (workers, executors) there."""

    host: str
    supervisor_id: str
    slots: int
    used: int
    topologies: dict[str, tuple[int, int]]


class Level(NamedTuple):
    """The level of one logger, "ROOT" for all. `until_s`: when it ends (seconds since 1970), and is what then; None:
    it stays.
    """

    logger: str
    level: str
    until_s: int | None
    then: str | None


def listed(client: Any) -> list[Listed]:
    """All of them, by name."""
    return sorted(
        Listed(
            *(each.name, each.id, each.status, each.uptime_secs),
            *(each.num_workers, each.num_executors, each.num_tasks, each.owner or None),
        )
        for each in client.getClusterInfo().topologies
    )


def find(client: Any, name: str, *, killed: bool = False) -> Listed:
    """The topology of this name or id. Raises SettingsError, with what is there; StateError if it is being killed,
    unless that is no matter.
    """
    known = listed(client)
    for each in known:
        if name in (each.name, each.id):
            if each.status == "KILLED" and not killed:
                raise StateError(f"{each.name} is being killed; until it is gone Storm does nothing else with it")
            return each
    near = difflib.get_close_matches(name, [each.name for each in known], n=1)
    there = ", ".join(each.name for each in known) or "none"
    raise SettingsError(
        f'no topology "{name}" on the cluster{f"; did you mean {near[0]}?" if near else ""}; there are: {there}'
    )


def rebalance(
    client: Any, topology: Listed, *, wait_s: int | None, workers: int | None, executors: Mapping[str, int]
) -> None:
    """Deal its executors out anew after `wait_s` seconds (None: its message time-out).

    Raises SettingsError for a component that is not there, or more executors than it has tasks: Storm would take fewer
    without a word.
    """
    tasks = {name: stats.common_stats.num_tasks for name, stats in components(client, topology).items()}
    faults = []
    for name, wanted in executors.items():
        if name not in tasks:
            faults.append(f'{topology.name} has no component "{name}"; it has: {", ".join(sorted(tasks))}')
        elif wanted > tasks[name]:
            faults.append(
                f"{name} has {tasks[name]} tasks, so at most as many executors, not {wanted}; the number of tasks is "
                "fixed while a topology runs: submit it with a higher par or with topology.tasks"
            )
    if faults:
        raise SettingsError(*faults)
    options = nimbus.wire().RebalanceOptions(wait_secs=wait_s, num_workers=workers, num_executors=dict(executors))
    client.rebalance(topology.name, options)


def components(client: Any, topology: Listed, window: str = ":all-time") -> dict[str, Any]:
    """Name -> Thrift's ComponentAggregateStats over `window`, spouts first; none of Storm's own."""
    page = client.getTopologyPageInfo(topology.id, window, False)
    return {**(page.id_to_spout_agg_stats or {}), **(page.id_to_bolt_agg_stats or {})}


def workers(client: Any, topologies: Sequence[Listed]) -> list[Worker]:
    """Every worker of these topologies that has been assigned."""
    return sorted(
        Worker(topology.name, topology.id, each.host, each.port, each.supervisor_id, each.uptime_secs, executors or 0)
        for topology in topologies
        for each in client.getTopologyPageInfo(topology.id, ":all-time", False).workers or ()
        for executors in [each.num_executors]
    )


def slots(client: Any) -> list[Slots]:
    """Of every Supervisor that reports to Nimbus."""
    everywhere = workers(client, listed(client))
    found = []
    for each in client.getClusterInfo().supervisors:
        there: dict[str, tuple[int, int]] = {}
        for worker in everywhere:
            if worker.supervisor_id == each.supervisor_id:
                count, executors = there.get(worker.topology, (0, 0))
                there[worker.topology] = (count + 1, executors + worker.executors)
        found.append(Slots(each.host, each.supervisor_id, each.num_workers, each.num_used_workers, there))
    return sorted(found, key=lambda each: each[:2])


def levels(client: Any, topology: Listed) -> list[Level]:
    """What has been set and has not ended."""
    found = client.getLogConfig(topology.id).named_logger_level or {}
    return [
        Level(
            name,
            each.target_log_level,
            _until(each),
            each.reset_log_level if each.reset_log_level_timeout_secs else None,
        )
        for name, each in sorted(found.items())
        if each.target_log_level
    ]


def set_levels(client: Any, topology: Listed, wanted: Mapping[str, tuple[str, int]], removed: Sequence[str]) -> None:
    """`wanted`: logger -> (level, seconds until it ends, 0: never). Workers follow within a few seconds."""
    wire = nimbus.wire()
    known = {each.logger for each in levels(client, topology)}
    absent = [name for name in removed if name not in known]
    if absent:
        raise SettingsError(
            f"{topology.name} has no level set for {', '.join(absent)}; set are: {', '.join(sorted(known)) or 'none'}"
        )
    changes = {name: wire.LogLevel(action=wire.LogLevelAction.REMOVE) for name in removed}
    for name, (level, seconds) in wanted.items():
        changes[name] = wire.LogLevel(
            action=wire.LogLevelAction.UPDATE, target_log_level=level, reset_log_level_timeout_secs=seconds
        )
    client.setLogConfig(topology.id, wire.LogConfig(named_logger_level=changes))


def nimbus_conf(client: Any) -> dict[str, Any]:
    """Nimbus's storm.yaml over Storm's defaults."""
    found: dict[str, Any] = json.loads(client.getNimbusConf())
    return found


def _until(level: Any) -> int | None:
    if not level.reset_log_level_timeout_secs:
        return None
    return int((level.reset_log_level_timeout_epoch or time.time() * 1000) // 1000)
