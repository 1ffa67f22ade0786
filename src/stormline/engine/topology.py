"""A streamparse topology class read into plain data: components, streams, subscriptions.

Read is what Storm is sent at submit: the `common` structs of the specs, and the command of each component.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import pystorm
from streamparse.dsl.spout import ShellSpoutSpec

from stormline.components.chaining import chained
from stormline.components.group import check_group
from stormline.components.wiring import LAUNCHER
from stormline.core.errors import SettingsError
from stormline.engine.groupings import KINDS, Grouping

SOURCES = Path("src")
PARTIAL_KEY = "org.apache.storm.grouping.PartialKeyGrouping"


class StreamSpec(NamedTuple):
    """An output stream of a component."""

    fields: tuple[str, ...]
    direct: bool = False


class Subscription(NamedTuple):
    """An input of a bolt: a stream of another component, and how it is split over the bolt's tasks."""

    component: str
    stream: str
    grouping: Grouping


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """What a topology says of one component; `make` gives a new object for each task and each new start of it."""

    name: str
    make: Callable[[], Any]
    is_spout: bool
    parallelism: int = 1
    streams: Mapping[str, StreamSpec] = field(default_factory=dict)
    inputs: tuple[Subscription, ...] = ()
    conf: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """A whole topology. Raises `SettingsError` with every subscription that leads nowhere."""

    components: tuple[ComponentSpec, ...]
    conf: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = list(_faults(self.components))
        if faults:
            raise SettingsError(*faults)


def read_topology(
    topology: Any, *, environment: str | None = None, multilang: bool = False, sources: Path = SOURCES
) -> TopologySpec:
    """`topology` is a subclass of streamparse's `Topology`; `environment` picks among parallelism hints that are given
    by environment (`par={"embedded": 1, "production": 8}`).

    With `multilang` every task is a child process, as on a cluster; without, those that are no Python, and those whose
    class brings a thread of its own. `sources` is the folder that children run in. Raises SettingsError.
    """
    chained(topology)
    check_group(topology)
    components = tuple(
        ComponentSpec(
            name=spec.name,
            make=_maker(spec, multilang=multilang, sources=sources),
            is_spout=spec.name in topology.thrift_spouts,
            parallelism=_parallelism(spec, environment),
            streams={
                name: StreamSpec(tuple(stream.output_fields), bool(stream.direct))
                for name, stream in spec.common.streams.items()
            },
            inputs=tuple(
                Subscription(source.componentId, source.streamId, _grouping(spec.name, grouping))
                for source, grouping in spec.common.inputs.items()
            ),
            conf=json.loads(spec.common.json_conf or "{}"),
        )
        for spec in topology.specs
    )
    return TopologySpec(components, dict(topology.config))


def _maker(spec: Any, *, multilang: bool, sources: Path) -> Callable[[], Any]:
    """What makes the object that the engine drives: a component of ours, or what stands for a stock one."""
    from stormline.engine.shell import ShellBolt, ShellSpout, argv  # streamparse, which they need, is costly to import
    from stormline.engine.stock_bolt import StockBolt
    from stormline.engine.stock_spout import StockSpout

    cls = spec.component_cls
    shell = spec.component_object.shell
    if shell is None:
        raise SettingsError(
            f"{spec.name}: a component in Java needs a real Storm; here take Python or a shell component"
        )
    is_spout = isinstance(spec, ShellSpoutSpec)
    in_process = not multilang and shell.execution_command == LAUNCHER
    make = getattr(cls, "make", None)
    if in_process and make is not None:
        return make  # type: ignore[no-any-return]
    if in_process and not issubclass(cls, pystorm.bolt.TicklessBatchingBolt):
        return partial(StockSpout if is_spout else StockBolt, cls)
    return partial(ShellSpout if is_spout else ShellBolt, argv(shell.execution_command, shell.script), sources)


def _parallelism(spec: Any, environment: str | None) -> int:
    hint = spec.common.parallelism_hint
    if not isinstance(hint, dict):
        return int(hint)
    if environment not in hint:
        raise SettingsError(
            f"{spec.name}: par names the environments {', '.join(sorted(hint))}, but this is "
            f"{environment or 'none of them'}; add it to par"
        )
    return int(hint[environment])


def _grouping(component: str, given: Any) -> Grouping:
    if given.fields is not None:
        return Grouping("fields", tuple(given.fields)) if given.fields else Grouping("global")
    for kind in KINDS:
        if getattr(given, kind, None) is not None:
            return Grouping(kind)
    custom = given.custom_object
    if custom is not None and custom.full_class_name == PARTIAL_KEY and not custom.args_list:
        return Grouping("partial_key")
    raise SettingsError(
        f"{component}: a custom grouping in Java ({custom.full_class_name if custom else 'serialized'}) needs a real "
        "Storm; here take fields, shuffle, all, global, direct, none or PartialKeyGrouping without arguments"
    )


def _faults(components: Sequence[ComponentSpec]) -> Iterator[str]:
    streams = {component.name: component.streams for component in components}
    if not any(component.is_spout for component in components):
        yield "the topology has no spout: nothing would ever flow"
    for name, times in Counter(component.name for component in components).items():
        if times > 1:
            yield f"{name}: {times} components have this name; give each its own"
    for component in components:
        for source, stream, grouping in component.inputs:
            if source not in streams:
                yield f"{component.name}: subscribes to {source}, which is no component of the topology"
            elif stream not in streams[source]:
                declared = ", ".join(streams[source]) or "none"
                yield f"{component.name}: subscribes to stream {stream!r} of {source}, which declares {declared}"
            else:
                for name in grouping.fields:
                    if name not in streams[source][stream].fields:
                        yield f"{component.name}: groups by field {name!r}, which {source} does not declare on {stream}"


def cycle(components: Sequence[ComponentSpec]) -> list[str]:
    """The components of one cycle, in the order of the streams; empty if there is none."""
    sources = {component.name: {source.component for source in component.inputs} for component in components}
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        return [*error.args[1]]
    return []
