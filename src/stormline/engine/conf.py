"""The settings of Storm's that the engine obeys, and which configuration a component gets to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormline.core.errors import SettingsError

OWN_OF_A_COMPONENT = frozenset(
    "topology." + name
    for name in (
        "debug",
        "max.spout.pending",
        "max.task.parallelism",
        "transactional.id",
        "tick.tuple.freq.secs",
        "sleep.spout.wait.strategy.time.ms",
        "spout.wait.strategy",
        "bolts.window.length.count",
        "bolts.window.length.duration.ms",
        "bolts.window.sliding.interval.count",
        "bolts.window.sliding.interval.duration.ms",
        "bolts.tuple.timestamp.max.lag.ms",
        "bolts.message.id.field.name",
        "bolts.late.tuple.stream",
        "state.provider",
        "state.provider.config",
    )
)
"""Storm's own keys that one component may set for itself."""
TASKS = "topology.tasks"
"""Heeded for one component as the topology is laid out, and dropped from what the component sees."""


def component_conf(topology: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A component's merged configuration, and the keys of its own that Storm ignores there (they count for the whole
    topology only). Storm goes by the list of its keys, we by the prefix `topology.`. Source: `Executor`'s
    `normalizedComponentConf`."""
    dropped = [key for key in own if key.startswith("topology.") and key not in OWN_OF_A_COMPONENT]
    seen = {**topology, **{key: value for key, value in own.items() if key not in dropped}}
    return seen, [key for key in dropped if key != TASKS]


def longest_silence_ms(conf: Mapping[str, Any]) -> int:
    """So long may a child or a worker say nothing, not even in answer to a heartbeat, before it is killed. As
    `ShellBolt` has it: `topology.subprocess.timeout.secs`, else `supervisor.worker.timeout.secs`."""
    keys = ("topology.subprocess.timeout.secs", "supervisor.worker.timeout.secs")
    return 1000 * next((secs for key in keys if (secs := positive(conf, key)) is not None), 30)


def positive(conf: Mapping[str, Any], key: str) -> int | None:
    """A whole number above 0; None if it is not set. Anything else is the user's mistake."""
    value = conf.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{key} is {value!r}; it must be a whole number above 0")
    return value
