"""A bolt that keeps the records a predicate accepts (B1, B2)."""

from __future__ import annotations

from typing import Any, ClassVar

import streamparse

from stormline.components.chaining import ChainedSpec, chained_spec
from stormline.components.dead_letters import DeadLetters
from stormline.components.host import Host, Tuple
from stormline.components.hosted import Hosted, record_schema, text
from stormline.components.outputs import Outputs
from stormline.components.plain_tuples import PlainInput, carries_batch
from stormline.components.wiring import WiredBoltSpec, resolve, stateless_spec
from stormline.core.batch import Batch
from stormline.core.errors import SettingsError
from stormline.core.keyed_slot import Held
from stormline.core.record import Record
from stormline.core.status import Status

DRIVEN = ("prepare", "execute", "on_time", "due_ms", "status", "close")
"""What a host calls."""


class FilterBolt(Hosted, streamparse.Bolt):
    """Keeps the records for which `keep` returns true.

    `keep` must be deterministic: a record that is replayed must be judged the same. A record on which it raises goes to
    the dead-letter topic with the traceback; the others of its batch go on.
    """

    settings: ClassVar[dict[str, Any]] = {"schema": record_schema, "event_time": text}

    schema: type[Record] | None = None
    """Behind a stock component: what its plain tuples are read as. They are kept at least once then."""
    event_time: str | None = None
    """The field of `schema` that holds the event time; None: the time of arrival."""

    def keep(self, record: Any) -> bool:
        """True to let the record through. The subclass says when."""
        raise AssertionError("spec() refuses a subclass without it")

    @classmethod
    def spec(  # type: ignore[override]
        cls,
        name: str | None = None,
        inputs: Any = None,
        par: Any = None,
        config: dict[str, Any] | None = None,
        chain: bool = False,
    ) -> WiredBoltSpec | ChainedSpec:
        """The component in a topology. `inputs`: specs of the components it reads from; `par`: its tasks.

        `chain`: it runs in the tasks of its one input, a spout or a filter of ours, and costs no tuple. For cheap code.
        """
        if cls.keep is FilterBolt.keep:
            raise SettingsError(f"{cls.__name__} needs a method keep(self, record) that returns true for what stays")
        if chain:
            own = [name for name in DRIVEN if getattr(cls, name) is not getattr(FilterBolt, name)]
            if own:
                raise SettingsError(
                    f"{cls.__name__}.spec(chain=True): of a chained component only keep is called, and it has its own "
                    f"{', '.join(own)}; leave chain out"
                )
            return chained_spec(cls, inputs, name=name, par=par, config=config)
        return stateless_spec(cls, inputs, name=name, par=par, config=config)

    def prepare(self, host: Host) -> None:
        self.host = host
        self._outputs = Outputs(host, self.keep)
        self._plain = PlainInput(host, resolve(host.context.conf["stormline.schema"]), self.event_time)
        self._dead = DeadLetters(host)

    def execute(self, tup: Tuple) -> None:
        try:
            _, lane, partition, rows, attempt = Batch(*tup.values) if carries_batch(tup) else self._plain.batch(tup)
        except ValueError as error:
            self._outputs.status.broken += 1
            self._dead.unreadable(tup, error)
            return
        sent = self._outputs.take(lane, partition, rows, attempt)
        for stream, values in sent.tuples:
            self.host.emit(values, stream=stream, anchors=(tup,))
        if not sent.broken:
            self.host.ack(tup)
            return
        held = Held(tup)
        held.waits = len(sent.broken)
        for component, broken in sent.broken:
            self._dead.set_aside(component, partition, broken, attempt, lambda: self._release(held))

    def _release(self, held: Held) -> None:
        if held.release():
            self.host.ack(held.tup)

    @property
    def due_ms(self) -> int | None:  # type: ignore[override]
        return self._dead.due_ms

    def on_time(self, now_ms: int) -> None:
        self._dead.on_time(now_ms)

    def status(self) -> Status:
        self._outputs.status.trouble = self._dead.trouble
        return self._outputs.status

    def close(self) -> None:
        self._dead.close()
