"""`chain=True`: a stateless bolt that runs in the tasks of the component above it.

No tuple, no coding and no way through Storm lies between the two. Storm knows nothing of the lower one: what it sends
are streams of its head, the spout or bolt in whose tasks it runs. Lanes, state and dead letters carry its own name, so
that it can be chained or not from one run to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec
from streamparse.thrift import GlobalStreamId, StreamInfo  # type: ignore[attr-defined]

from stormline.components.wiring import BATCH, Wired, configure, path_of
from stormline.core.batch import BATCH_FIELDS
from stormline.core.errors import SettingsError
from stormline.core.status import Status

CHAIN = "stormline.chain"
"""Key of the head's configuration: a `Link` for each component chained below it, the upper ones first."""


class Link(msgspec.Struct):
    """A chained component, as its head's tasks are told of it."""

    name: str
    path: str
    """`module:Class`."""
    above: str | None
    """The chained component whose records it takes; None: the head's own."""
    streams: dict[str, str]
    """Its streams -> what they are called among those of the head."""
    splits: dict[str, str]
    """Those split by a key -> the keyed bolt, as `module:Class`."""


def links(conf: Mapping[str, Any]) -> list[Link]:
    """What is chained below the component with this configuration."""
    return msgspec.convert(conf.get(CHAIN, []), list[Link])


class ChainedSpec(Wired):
    """The spec of a chained component. It is none of streamparse's, which makes each of those a component of Storm's.

    A stock component reads it as `spec["default"]`.
    """

    def __init__(self, cls: type, above: Any, name: str | None) -> None:
        self.component_cls = cls
        self.upstream = [above]
        self.above = above
        self.head: Any = above.head if isinstance(above, ChainedSpec) else above
        """The spec of the component that Storm knows."""
        self.schema, self.keyed_above, self.takes_plain = above.schema, above.keyed_above, above.takes_plain
        self.streams: dict[str, str] = {}
        """Its streams -> what they are called among those of the head: by its class, as its name is not known yet."""
        self._path = path_of(cls)
        self._splits: dict[str, str] = {}
        names = (cls.__name__ if n == 1 else f"{cls.__name__}-{n}" for n in count(1))
        self._prefix = next(name for name in names if f"{name}.{BATCH}" not in self.head.outputs)
        self.head.chained = [*self.head.chained, self]
        self._declare(BATCH, BATCH_FIELDS)
        self._declare("default", self.schema.__struct_fields__)
        self._on_name = lambda name: self._tell_head()
        self.name = name

    def __set_name__(self, owner: type, name: str) -> None:
        """Python says which attribute of the topology it is."""
        if self.name is None:
            self.name = name

    @property
    def outputs(self) -> Mapping[str, Any]:  # type: ignore[override]
        return {stream: self.head.outputs[called] for stream, called in self.streams.items()}

    def stream(self, name: str) -> GlobalStreamId:
        return self.head.stream(self.streams[name])

    def split(self, stream: str, bolt: type) -> None:
        self._splits[stream] = path_of(bolt)
        self._declare(stream, BATCH_FIELDS)
        self._tell_head()

    def __getitem__(self, stream: str) -> GlobalStreamId:
        """Raises KeyError if it has no such stream."""
        return self.stream(stream)

    def __repr__(self) -> str:
        return f'{self.component_cls.__name__}, which is chained: a stock component reads its stream, spec["default"]'

    def link(self) -> Link:
        above = self.above.name if isinstance(self.above, ChainedSpec) else None
        return Link(self.name or "", self._path, above, self.streams, self._splits)

    def _declare(self, stream: str, fields: Sequence[str]) -> None:
        self.streams[stream] = f"{self._prefix}.{stream}"
        self.head.outputs[self.streams[stream]] = StreamInfo(output_fields=list(fields), direct=False)

    def _tell_head(self) -> None:
        configure(self.head, CHAIN, [msgspec.to_builtins(spec.link()) for spec in self.head.chained])


def chained_spec(cls: Any, inputs: Any, *, name: str | None, par: Any, config: dict[str, Any] | None) -> ChainedSpec:
    """A stateless bolt in the tasks of its one input. Raises SettingsError with all that speaks against it."""
    given = list(inputs) if isinstance(inputs, list | tuple) else [] if inputs is None else [inputs]
    faults = []
    if len(given) != 1:
        faults.append(f"it needs exactly one input, in whose tasks it runs, and has {len(given)}")
    elif not (isinstance(given[0], Wired) and BATCH in given[0].outputs):
        faults.append(f"its input must be a KafkaSpout or a FilterBolt, in whose tasks it runs, not {_named(given[0])}")
    if par is not None or cls.par not in (None, 1):
        faults.append("it has no tasks of its own; leave par out, or give it to the component above")
    if config or cls.config:
        faults.append("it has no configuration of its own; leave config out, or give it to the component above")
    if faults:
        raise SettingsError(*[f"{cls.__name__}.spec(chain=True): {fault}" for fault in faults])
    return ChainedSpec(cls, given[0], name)


def _named(given: Any) -> str:
    return getattr(getattr(given, "component_cls", None), "__name__", None) or repr(given)


def chained(topology: Any) -> list[ChainedSpec]:
    """The chained components of a `Topology` class. Raises SettingsError if one has no name, or that of another."""
    found = [each for spec in topology.specs for each in getattr(spec, "chained", ())]
    faults = [
        f"{topology.__name__}: {each.component_cls.__name__}.spec(chain=True) has no name; make it an attribute of the "
        "topology, or give it one with name=..."
        for each in found
        if each.name is None
    ]
    names = Counter(each.name for each in [*topology.specs, *found] if each.name is not None)
    faults += [f"{topology.__name__}: {n} components are called {name}" for name, n in names.items() if n > 1]
    if faults:
        raise SettingsError(*faults)
    return found


def senders(topology: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """(head, stream) in Storm -> (chained component, stream), for all that chained components send."""
    return {
        (each.head.name, called): (str(each.name), stream)
        for each in chained(topology)
        for stream, called in each.streams.items()
    }


def sources(topology: Any) -> dict[str, list[tuple[str, str]]]:
    """Component -> (component, stream) of what it reads, as if nothing was chained."""
    sends = senders(topology)
    found: dict[str, list[tuple[str, str]]] = {}
    for spec in topology.specs:
        read = [(source.componentId, source.streamId) for source in spec.inputs]
        found[spec.name] = [sends.get(each, each) for each in read]
    return found | {str(each.name): [(each.above.name, BATCH)] for each in chained(topology)}


def told_apart(statuses: Mapping[str, Sequence[Status]], topology: Any) -> dict[str, list[Status]]:
    """What tasks say of themselves, by component; chained ones below their head, as components of their own."""
    return dict(_told_apart(statuses, chained(topology)))


def _told_apart(
    statuses: Mapping[str, Sequence[Status]], below: Sequence[ChainedSpec]
) -> Iterator[tuple[str, list[Status]]]:
    for component, tasks in statuses.items():
        yield component, list(tasks)
        for each in below:
            if each.head.name == component:
                name = str(each.name)
                yield name, [task.chained[name] for task in tasks if name in task.chained]
