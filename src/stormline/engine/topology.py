"""A streamparse topology class read into plain data: components, streams, subscriptions.

Read is what Storm is sent at submit: the `common` structs of the specs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from stormline.core.errors import SettingsError
from stormline.engine.groupings import KINDS, Grouping

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


def read_topology(topology: Any, *, environment: str | None = None) -> TopologySpec:
    """`topology` is a subclass of streamparse's `Topology`; `environment` picks among parallelism hints that are given
    by environment (`par={"embedded": 1, "production": 8}`)."""
    components = tuple(
        ComponentSpec(
            name=spec.name,
            make=_maker(spec),
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


def _maker(spec: Any) -> Callable[[], Any]:
    make = getattr(spec.component_cls, "make", None)
    if make is not None:
        return make  # type: ignore[no-any-return]
    from pystorm import Bolt, Spout

    from stormline.engine.stock import StockBolt, StockSpout

    cls = spec.component_cls
    if isinstance(cls, type) and issubclass(cls, Spout):
        return partial(StockSpout, cls)
    if isinstance(cls, type) and issubclass(cls, Bolt):
        return partial(StockBolt, cls)
    raise SettingsError(
        f"{spec.name}: {cls.__module__}.{cls.__name__} is no Python component; the JVM's run on a real Storm only"
    )


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
