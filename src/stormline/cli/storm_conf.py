"""The configuration that a topology is submitted with: command line over topology over environment over defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stormline.cli.config import FILE, Environment
from stormline.connectors.addresses import has_password, is_reference
from stormline.core.errors import SettingsError

TIMEOUT_S = 10
"""Storm's default of 30 s makes the death of a worker a stall of up to 48 s; ours ack within a second."""

WAITING = {
    "topology.bolt.wait.progressive.level2.count": 0,
    "topology.bolt.wait.progressive.level3.sleep.millis": 5,
}
"""How a bolt's thread waits for tuples. Storm looks a thousand times as often as it can, then each millisecond, again
after every tuple: that took half of what a JVM spends on our batches, and a third of a core when there is nothing. Ours
are durable after tens of milliseconds, so 5 ms a hop are not felt; stock topologies keep Storm's."""


def storm_conf(
    topology: Any, env: Environment, given: Mapping[str, Any], *, original: str, stateful: bool
) -> dict[str, Any]:
    """Without the number of workers, where none is said, and without what is known only when it is submitted.
    `given`: of the command line. `original`: the topology's name, whatever it is submitted as.

    Raises SettingsError with every fault.
    """
    conf = {
        **({"topology.message.timeout.secs": TIMEOUT_S, **WAITING} if stateful else {}),
        **_logging(env.stock),
        **env.options,
        **topology.config,
        **given,
        "topology.original_name": original,
    }
    if conf.get("topology.debug"):
        conf["pystorm.log.level"] = "debug"
    faults = faults_of(conf, stateful=stateful)
    serializer = env.stock.get("serializer", "json")
    if serializer != "json":
        faults.append(f'"serializer" of the environment "{env.name}" is {serializer!r}; Storm 2 has none but json')
    if faults:
        raise SettingsError(*faults)
    return conf


def faults_of(conf: Mapping[str, Any], *, stateful: bool) -> list[str]:
    """What of a configuration must not be submitted."""
    return [*_unsound(conf, stateful=stateful)] + [
        f"{key} has a password in it, which everybody who may look at the cluster would see. Let the workers find it "
        "by themselves, in their environment or in a file"
        for key, value in conf.items()
        if has_password(json.dumps(value, default=str))
    ]


def servers_conf(env: Environment) -> dict[str, Any]:
    """Where the components find Kafka and Redis. Raises SettingsError if they would not, or a password showed."""
    faults = []
    for key, value in (("kafka", env.kafka and env.kafka.bootstrap), ("redis", env.redis)):
        where = f'"{key}" of the environment "{env.name}" in {FILE}'
        if value is None:
            faults.append(f"{where} is not set; the topology needs it, as an address that the workers reach")
        elif value == "embedded":
            faults.append(f"{where} is embedded, which only `sparse run` has; give an address that the workers reach")
        elif not is_reference(value) and has_password(value):
            name = f"STORMLINE_{key.upper()}"
            faults.append(
                f"{where} has a password in it, and would stand in the topology's configuration, which everybody who "
                f"may look at the cluster sees. Put the whole address into the variable {name} of the Supervisors and "
                f'of this shell, and say "{key}": "env:{name}"; or into a file that each of them has, and say '
                f'"{key}": "file:/etc/stormline/{key}"'
            )
    if faults:
        raise SettingsError(*faults)
    assert env.kafka is not None
    return {"stormline.kafka": env.kafka.conf(), "stormline.redis": env.redis}


def _unsound(conf: Mapping[str, Any], *, stateful: bool) -> Iterator[str]:
    for key in ("topology.workers", "topology.message.timeout.secs"):
        value = conf.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield f"{key} is {value!r}; it must be a whole number above 0"
    if stateful and conf.get("topology.acker.executors") == 0:
        yield "topology.acker.executors is 0: no record would ever count as taken care of; leave it unset, or set 1"
    if stateful and conf.get("topology.max.spout.pending") is not None:
        yield (
            "topology.max.spout.pending is set for the whole topology: our spouts would be stopped when they wait, and "
            "say no more how far they are; they limit themselves by max_pending. Set it for a stock spout alone, by "
            "spec(config={...})"
        )


def _logging(stock: Mapping[str, Any]) -> dict[str, Any]:
    """streamparse's settings of what stock components log, under the names by which pystorm reads them."""
    log = stock.get("log") or {}
    found = {
        "path": log.get("path") or stock.get("log_path"),
        "file": log.get("file") or stock.get("log_file"),
        "max_bytes": log.get("max_bytes"),
        "backup_count": log.get("backup_count"),
        "level": log["level"].lower() if isinstance(log.get("level"), str) else None,
    }
    return {f"pystorm.log.{key}": value for key, value in found.items() if value is not None}
