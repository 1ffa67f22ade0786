"""What Storm's worker tells a component at the start of the multilang protocol, without `pidDir`.

Source: `ShellBolt`, `ShellSpout` and `TopologyContext.toJSONString`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stormline.engine.groupings import Grouping
from stormline.engine.routes import subscribers
from stormline.engine.topology import ComponentSpec, TopologySpec

TYPES = {"global": "FIELDS", "partial_key": "CUSTOM_OBJECT"}
"""Where the name differs from ours: the global grouping is one by no fields, partial key is a class of Storm's."""


def handshake(
    spec: ComponentSpec,
    task: int,
    topology: TopologySpec,
    tasks: Mapping[str, Sequence[int]],
    conf: Mapping[str, Any],
) -> dict[str, Any]:
    """`conf` is the merged configuration of the component; keys of tasks are texts, as JSON has it."""
    components = {component.name: component for component in topology.components}
    sources: dict[str, dict[str, Any]] = {}
    for source, stream, grouping in spec.inputs:
        sources.setdefault(source, {})[stream] = _told(grouping)
    return {
        "conf": dict(conf),
        "context": {
            "taskid": task,
            "componentid": spec.name,
            "task->component": {
                str(number): name
                for number, name in sorted((number, name) for name, ids in tasks.items() for number in ids)
            },
            "streams": list(spec.streams),
            "stream->outputfields": {name: list(stream.fields) for name, stream in spec.streams.items()},
            "stream->target->grouping": {
                name: {reader: _told(grouping) for reader, grouping in readers}
                for name in spec.streams
                if (readers := subscribers(spec.name, name, topology))
            },
            "source->stream->grouping": sources,
            "source->stream->fields": {
                source: {name: list(stream.fields) for name, stream in components[source].streams.items()}
                for source in sources
            },
        },
    }


def _told(grouping: Grouping) -> dict[str, Any]:
    told: dict[str, Any] = {"type": TYPES.get(grouping.kind, grouping.kind.upper())}
    if told["type"] == "FIELDS":
        told["fields"] = list(grouping.fields)
    return told
