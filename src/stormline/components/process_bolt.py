"""A keyed bolt with state by key and a function of the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from stormline.components.host import Host
from stormline.components.hosted import record_schema, required
from stormline.components.keyed_bolt import KeyedBolt
from stormline.components.keys import flag, key_faults, key_setting
from stormline.components.wiring import WiredBoltSpec, keyed_spec, resolve
from stormline.core.aggregate import Aggregation
from stormline.core.cells import DEFAULT, Called, Process
from stormline.core.duration import duration_ms
from stormline.core.errors import SettingsError
from stormline.core.record import Record
from stormline.core.slot import Key
from stormline.core.table import Rules


class State(msgspec.Struct):
    """Base of the state of a `ProcessBolt`: subclass it, annotate the fields, give each a default."""


def _state(value: Any) -> None:
    if not (isinstance(value, type) and issubclass(value, State)):
        raise ValueError("give a subclass of stormline.State")
    try:
        value()
    except TypeError as error:
        raise ValueError(f"a key begins with {value.__name__}(), so each field needs a default: {error}") from None


class ProcessBolt(KeyedBolt):
    """Calls `process(record, state)` for each record, with the state of its key, which it may change.

    It yields what is sent on (records of `schema`), and `Timer`, `Cancel` and `Forget`. State, timers and what is sent
    are written in one flush with what is counted: each record has changed the state once, whatever dies, and what is
    sent has an identity (the field `id`) under which it may come again, unchanged. The function must be deterministic
    in the record and the state: no clock, no chance.

    If it raises, the record has changed nothing and goes to the dead-letter topic with the traceback.
    """

    settings: ClassVar[dict[str, Any]] = {
        "key": key_setting,
        "none_is_key": flag,
        "state": _state,
        "schema": record_schema,
        "expire_after": duration_ms,
    }

    key: Key = None
    """A field, a tuple of fields, or a function of the record; None: one state for all records."""
    none_is_key: bool = False
    """A record whose key is None is counted under that key; otherwise it is broken."""
    state: type[State]
    schema: type[Record] | None = None
    """What it sends on its stream `default`; None: it sends nothing."""
    expire_after: str | None = None
    """A key without a record for so much event time is forgotten; None: never."""

    def process(self, record: Any, state: Any) -> Iterable[Any] | None:  # type: ignore[override]
        """What a record does to the state of its key. The subclass says what."""
        raise AssertionError("spec() refuses a subclass without it")

    def on_timer(self, timer: Called, state: Any) -> Iterable[Any] | None:
        """What a timer does that `process` has set: it may do all that `process` may."""
        return None

    @classmethod
    def spec(  # type: ignore[override]
        cls, name: str | None = None, inputs: Any = None, par: Any = None, config: dict[str, Any] | None = None
    ) -> WiredBoltSpec:
        """The component in a topology. `inputs`: specs of what it reads from; `par`: its tasks, at most one a slot."""
        faults = required(cls, "state")
        if cls.process is ProcessBolt.process:
            faults.append(f"{cls.__name__} needs a method process(self, record, state)")
        if faults:
            raise SettingsError(*faults)
        outputs = {} if cls.schema is None else {DEFAULT: [*cls.schema.__struct_fields__, "id"]}
        spec = keyed_spec(cls, inputs, name=name, par=par, config=config, outputs=outputs, reads=None)
        spec.sends = cls.schema
        faults += key_faults(cls, spec.schema)
        if faults:
            raise SettingsError(*faults)
        return spec

    def rules(self, host: Host) -> Rules:
        context = host.context
        expire_ms = None if self.expire_after is None else duration_ms(self.expire_after)
        process = Process(self.state, self.process, self.on_timer, self.schema, expire_ms)
        streams = frozenset({DEFAULT} if context.targets.get(DEFAULT) else ())
        nothing = Aggregation({}, resolve(context.conf["stormline.schema"]))
        return Rules(context.component, (process,), nothing, streams=streams)
