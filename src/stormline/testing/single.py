"""The topology around one bolt under test: a spout before it, and behind it what takes what it sends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import streamparse
from streamparse.dsl.bolt import ShellBoltSpec
from streamparse.dsl.stream import Grouping

from stormline.components.host import Host, Tuple
from stormline.components.hosted import Hosted
from stormline.components.kafka_spout import KafkaSpout
from stormline.components.plain_tuples import carries_batch
from stormline.components.wiring import BATCH, LAUNCHER, WiredBoltSpec, stateless_spec
from stormline.core.batch import Batch
from stormline.core.record import Record
from stormline.core.status import Status

INPUT = "input"
BOLT = "bolt"
OUT = "out"
TAKEN = "stormline.testing.out"
"""Key of the configuration: the list that takes what the bolt sends on."""


class Sent(NamedTuple):
    """A tuple of a keyed bolt."""

    stream: str
    values: dict[str, Any]
    """By field; `id` is the identity under which it may come again."""


class Collector(Hosted, streamparse.Bolt):
    """Takes what the bolt under test sends on."""

    settings: ClassVar[dict[str, Any]] = {}
    schema: ClassVar[None] = None

    @classmethod
    def spec(cls, bolt: WiredBoltSpec) -> ShellBoltSpec:  # type: ignore[override]
        if BATCH in bolt.outputs:
            return stateless_spec(cls, [bolt], name=None, par=1, config=None)
        streams = {bolt[stream]: Grouping.GLOBAL for stream in bolt.outputs}
        return ShellBoltSpec(cls, command=LAUNCHER, script=cls.__name__, inputs=streams, outputs=[])

    def prepare(self, host: Host) -> None:
        self.host = host
        self._taken: list[Any] = host.context.conf[TAKEN]

    def execute(self, tup: Tuple) -> None:
        if carries_batch(tup):
            self._taken.extend(Batch(*tup.values).records.values)
        else:
            fields = self.host.handshake()["context"]["source->stream->fields"][tup.component][tup.stream]
            self._taken.append(Sent(tup.stream, dict(zip(fields, tup.values, strict=True))))
        self.host.ack(tup)

    def on_time(self, now_ms: int) -> None:
        """Waits for nothing."""

    def status(self) -> Status:
        return Status(settled=True)

    def close(self) -> None:
        """Holds nothing."""


def topology_of(bolt: Any, schema: type[Record] | None, event_time: str | None, out_of_order: str) -> type:
    """A spout `input` on the topic `input`, the bolt as `bolt`, and the collector `out`.

    Raises:
        TypeError: no schema is given.
    """
    if schema is None:
        raise TypeError(f"say what {bolt.__name__} is fed: Driver({bolt.__name__}, schema=...)")
    settings: dict[str, Any] = {"topic": INPUT, "schema": schema, "out_of_order": out_of_order}
    if event_time is not None:
        settings["event_time"] = event_time
    spout: Any = type("Input", (KafkaSpout,), settings)
    members: dict[str, Any] = {INPUT: spout.spec()}
    members[BOLT] = bolt.spec(inputs=[members[INPUT]])
    if members[BOLT].outputs:
        members[OUT] = Collector.spec(members[BOLT])
    make: Callable[..., type] = type(streamparse.Topology)
    return make("Tried", (streamparse.Topology,), members)
