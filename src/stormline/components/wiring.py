"""`.spec(inputs=[...])` as the user writes it, made into Storm's streams and groupings.

A keyed bolt adds to each of its inputs an output stream split by its key, `by_<component>`, subscribes to it with
fields grouping on the slot, and subscribes to the progress stream of every spout upstream. A component's name is the
attribute it is assigned to in the topology, known only when that class is made; so the wiring waits for the name.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from streamparse.dsl.bolt import ShellBoltSpec
from streamparse.dsl.component import ComponentSpec
from streamparse.dsl.spout import ShellSpoutSpec
from streamparse.dsl.stream import Grouping, Stream
from streamparse.thrift import GlobalStreamId, StreamInfo  # type: ignore[attr-defined]

from stormline.core.batch import BATCH_FIELDS
from stormline.core.errors import SettingsError
from stormline.core.progress import PROGRESS_FIELDS

BATCH = "batch"
PROGRESS = "progress"
LAUNCHER = "streamparse_run"


class Wired:
    """A spec that knows its inputs and the schema of what it sends, and is told its name by the topology."""

    upstream: Sequence[Wired] = ()
    keyed_above: Any = None
    """A keyed bolt somewhere above it: its results come again after a crash."""
    sends: type[msgspec.Struct] | None = None
    """As what its plain tuples may be read."""
    takes_plain = False
    """It, or something above it, takes plain tuples of stock components."""
    schema: type[msgspec.Struct]
    outputs: dict[str, Any]
    """By the names of its streams."""
    chained: Sequence[Any] = ()
    """The specs that run in its tasks."""
    _name: str | None = None
    _on_name: Callable[[str], None] | None = None

    @property
    def name(self) -> str | None:
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = name
        if name is not None and self._on_name is not None:
            self._on_name(name)

    def stream(self, name: str) -> GlobalStreamId:
        """Where a reader finds this stream of it in Storm."""
        return GlobalStreamId(componentId=self.name or self, streamId=name)

    def split(self, stream: str, bolt: type) -> None:
        """One more stream, split by the key of a keyed bolt."""
        self.outputs[stream] = StreamInfo(output_fields=list(BATCH_FIELDS), direct=False)
        configure(self, "stormline.splits", {stream: path_of(bolt)}, merge=True)

    def spouts(self) -> Iterator[WiredSpoutSpec]:
        """Every spout upstream, once."""
        seen: dict[int, WiredSpoutSpec] = {}
        for spec in self.upstream:
            for spout in [spec] if isinstance(spec, WiredSpoutSpec) else spec.spouts():
                seen[id(spout)] = spout
        yield from seen.values()


class WiredSpoutSpec(Wired, ShellSpoutSpec):
    """The spec of a spout of ours."""


class WiredBoltSpec(Wired, ShellBoltSpec):
    """The spec of a bolt of ours."""


def spout_spec(
    cls: type, schema: type[msgspec.Struct], *, name: str | None, par: Any, config: dict[str, Any] | None
) -> WiredSpoutSpec:
    """A spout with the streams `batch` and `progress`, and `default` for stock components."""
    outputs = [
        Stream(list(BATCH_FIELDS), name=BATCH),
        Stream(list(PROGRESS_FIELDS), name=PROGRESS),
        Stream(list(schema.__struct_fields__)),
    ]
    spec = WiredSpoutSpec(  # type: ignore[no-untyped-call]
        cls, command=LAUNCHER, script=_script(cls), name=name, par=par, config=config, outputs=outputs
    )
    spec.schema = schema
    configure(spec, "stormline.schema", path_of(schema))
    return spec


def stateless_spec(
    cls: type, inputs: Any, *, name: str | None, par: Any, config: dict[str, Any] | None
) -> WiredBoltSpec:
    """A bolt that takes batches as they come and sends batches on."""
    upstream, plain, schema = _inputs(cls, inputs, cls.schema)  # type: ignore[attr-defined]
    spec = WiredBoltSpec(  # type: ignore[no-untyped-call]
        cls,
        command=LAUNCHER,
        script=_script(cls),
        name=name,
        par=par,
        config=config,
        # A batch stays in its worker if it can: a bolt without keys does the same with it anywhere.
        inputs={
            **{up.stream(BATCH): Grouping.LOCAL_OR_SHUFFLE for up in upstream},
            **dict.fromkeys(_streams(plain), Grouping.SHUFFLE),
        },
        outputs=[Stream(list(BATCH_FIELDS), name=BATCH), Stream(list(schema.__struct_fields__))],
    )
    spec.upstream, spec.schema = upstream, schema
    spec.keyed_above = _keyed_above(upstream, plain)
    spec.takes_plain = bool(plain) or any(up.takes_plain for up in upstream)
    configure(spec, "stormline.schema", path_of(schema))
    return spec


def keyed_spec(
    cls: type,
    inputs: Any,
    *,
    name: str | None,
    par: Any,
    config: dict[str, Any] | None,
    outputs: Mapping[str, Sequence[str]],
    reads: type[msgspec.Struct] | None,
) -> WiredBoltSpec:
    """A bolt whose records come split by its key, with the progress of all spouts upstream. `outputs`: the fields of
    each of its streams, which carry plain tuples. `reads`: as what it reads the plain tuples of others."""
    upstream, plain, schema = _inputs(cls, inputs, reads)
    above = _keyed_above(upstream, plain)
    if above is not None:
        raise SettingsError(
            f"{cls.__name__}.spec(): it would be a keyed bolt below the keyed bolt {above.component_cls.__name__}, "
            "whose results come again after a crash and would be counted twice; only bolts without keys can be below it"
        )
    spec = WiredBoltSpec(  # type: ignore[no-untyped-call]
        cls,
        command=LAUNCHER,
        script=_script(cls),
        par=par,
        config=config,
        inputs=dict.fromkeys(_streams(plain), Grouping.GLOBAL),
        outputs=[Stream(list(fields), name=stream) for stream, fields in outputs.items()],
    )
    spec.upstream, spec.schema = upstream, schema
    configure(spec, "stormline.schema", path_of(schema))
    untold = len(plain) + sum(up.takes_plain for up in upstream)
    if untold:
        configure(spec, "stormline.untold", untold)
    if plain and par not in (None, 1):
        raise SettingsError(
            f"{cls.__name__}.spec(): par = {par} behind a component of streamparse's, which cannot tell the tasks that "
            "own the keys; put a FilterBolt with the same schema in between, or leave par at 1"
        )

    def connect(component: str) -> None:
        stream = f"by_{component}"
        for up in upstream:
            up.split(stream, cls)
            spec.inputs[up.stream(stream)] = Grouping.fields("slot")
        for spout in spec.spouts():
            spec.inputs[spout.stream(PROGRESS)] = Grouping.ALL

    spec._on_name = connect
    spec.name = name
    return spec


def resolve(path: str) -> Any:
    """The object behind `module:Name`; the inverse of `path_of`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def path_of(cls: type) -> str:
    """`module:Name` of a class, for a configuration. Raises SettingsError if no worker could import it so."""
    if "." in cls.__qualname__:
        raise SettingsError(f"{cls.__qualname__} must stand at the top of its module: a worker imports it by name")
    return f"{cls.__module__}:{cls.__qualname__}"


def _script(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def _inputs(
    cls: Any, inputs: Any, reads: type[msgspec.Struct] | None
) -> tuple[list[Wired], list[Any], type[msgspec.Struct]]:
    """The specs of ours that send batches, the others (specs, or streams) that send plain tuples, and the schema."""
    given = list(inputs) if isinstance(inputs, list | tuple) else [] if inputs is None else [inputs]
    if not given:
        raise SettingsError(f"{cls.__name__}.spec() needs inputs: a list of the components it reads from")
    upstream = [spec for spec in given if isinstance(spec, Wired) and BATCH in spec.outputs]
    plain = [spec for spec in given if spec not in upstream]
    schemas = {spec.schema for spec in upstream}
    for spec in plain:
        if not isinstance(spec, ComponentSpec | GlobalStreamId):
            raise SettingsError(f"{cls.__name__}.spec(): {spec!r} is no spec of a component, and no stream of one")
        if isinstance(spec, ComponentSpec) and "default" not in spec.outputs:
            streams = ", ".join(f'["{stream}"]' for stream in spec.outputs)
            raise SettingsError(
                f"{cls.__name__}.spec(): {spec.component_cls.__name__} has no stream default; name one of its streams "
                f"in brackets: {streams or 'it has none'}"
            )
        schema = getattr(spec, "sends", None) or reads
        if schema is None:
            raise SettingsError(
                f"{cls.__name__} does not know the fields of the plain tuples that it reads: it, or a FilterBolt in "
                "between, needs the setting schema, a Record with them (and event_time, if it is one of them)"
            )
        schemas.add(schema)
    if len(schemas) > 1:
        names = ", ".join(sorted(schema.__name__ for schema in schemas))
        raise SettingsError(f"{cls.__name__}.spec(): its inputs send records of different schemas: {names}")
    return upstream, plain, schemas.pop()


def _keyed_above(upstream: Sequence[Wired], plain: Sequence[Any]) -> Any:
    """A keyed bolt among the inputs, or above them; None: there is none."""
    above = [getattr(source, "componentId", source) for source in plain]
    found = [spec for spec in above if isinstance(spec, WiredBoltSpec) and BATCH not in spec.outputs]
    return next(iter([*found, *(spec.keyed_above for spec in upstream if spec.keyed_above is not None)]), None)


def _streams(plain: list[Any]) -> list[GlobalStreamId]:
    return [spec["default"] if isinstance(spec, ComponentSpec) else spec for spec in plain]


def configure(spec: Any, key: str, value: Any, *, merge: bool = False) -> None:
    """Set a key of a component's own configuration; `merge`: of what stands under it."""
    config = json.loads(spec.config)
    config[key] = {**config.get(key, {}), **value} if merge else value
    spec.config = spec.common.json_conf = json.dumps(config, sort_keys=True)
