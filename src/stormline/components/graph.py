"""What of a topology is baked into its stored state, as one short text.

A changed filter is harmless: each record is judged once. So is where it runs: chained or not, the graph is the same. A
changed key, slot count, window, aggregate, schema or graph would count records again under other names, or misread what
is stored; so a start with another fingerprint is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, get_type_hints

from stormline.components.chaining import chained, sources
from stormline.components.keyed_bolt import KeyedBolt
from stormline.components.keys import SLOTS_KEY, slots_of_conf
from stormline.components.process_bolt import ProcessBolt
from stormline.components.window_bolt import WindowBolt
from stormline.connectors.versions import Migrate, Version
from stormline.core.errors import SettingsError
from stormline.core.own import said_aggregate
from stormline.core.window import windowers


def graph_fingerprint(topology: Any) -> str:
    """A hash over components, streams, groupings, keys, windows, aggregates and schemas of a `Topology` class."""
    read = sources(topology)
    components = sorted(
        (_component(spec, read[spec.name]) for spec in [*topology.specs, *chained(topology)]),
        key=lambda component: str(component["name"]),
    )
    text = json.dumps({"slots": slots(topology), "components": components}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slots(topology: Any) -> int:
    """Over how many slots its keys are spread. Raises SettingsError: fewer than a bolt has tasks."""
    count = slots_of_conf(topology.config)
    faults = [
        f"{spec.name} has par = {spec.par}, but there are {count} slots to share; a task would have none "
        f'(config = {{"{SLOTS_KEY}": …}} in the topology says how many there are)'
        for spec in topology.specs
        if issubclass(spec.component_cls, KeyedBolt) and isinstance(spec.par, int) and spec.par > count
    ]
    if faults:
        raise SettingsError(*faults)
    return count


def version(topology: Any) -> Version:
    """The topology as its stored state depends on it."""
    read = sources(topology)
    keyed = [spec for spec in topology.specs if issubclass(spec.component_cls, KeyedBolt)]
    described = {spec.name: _component(spec, read[spec.name]) for spec in keyed}
    states = {name: {part: found[part] for part in found if part not in _WIRING} for name, found in described.items()}
    return Version(graph_fingerprint(topology), json.loads(json.dumps(states)), slots(topology))


def migrations(topology: Any) -> dict[str, Migrate]:
    """Component -> the user's `migrate`, where there is one."""
    keyed = [spec for spec in topology.specs if issubclass(spec.component_cls, KeyedBolt)]
    return {spec.name: spec.component_cls().migrate for spec in keyed if hasattr(spec.component_cls, "migrate")}


def reads_results(topology: Any) -> bool:
    """Whether a component reads a stream of a keyed bolt: the spouts then have to tell what has arrived."""
    keyed = {spec.name for spec in topology.specs if issubclass(spec.component_cls, KeyedBolt)}
    return any(source.componentId in keyed for spec in topology.specs for source in spec.inputs)


_WIRING = ("name", "inputs", "triggered")
"""Parts of a description that say nothing of how the state is read."""


def _component(spec: Any, read: Sequence[tuple[str, str]]) -> dict[str, Any]:
    cls = spec.component_cls
    found: dict[str, Any] = {
        "name": spec.name,
        "inputs": sorted(f"{component}.{stream}" for component, stream in read),
    }
    schema = getattr(spec, "schema", None)
    if schema is not None:
        found["schema"] = {name: str(hint) for name, hint in get_type_hints(schema).items()}
    if issubclass(cls, KeyedBolt):
        found["key"] = getattr(cls.key, "__qualname__", cls.key)
    if issubclass(cls, ProcessBolt):
        found["state"] = {name: str(hint) for name, hint in get_type_hints(cls.state).items()}
    if issubclass(cls, WindowBolt):
        found |= {
            "window": [window.name for window in windowers(cls.window)],
            "time": cls.time,
            "aggregate": {name: said_aggregate(aggregate) for name, aggregate in cls.aggregate.items()},
            "triggered": callable(cls.trigger),
        }
    return found
