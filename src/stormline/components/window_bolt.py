"""A keyed bolt with windows: aggregates by key, results in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from stormline.components.host import Host
from stormline.components.hosted import record_schema, required, text
from stormline.components.keyed_bolt import KeyedBolt
from stormline.components.keys import flag, key_faults, key_setting
from stormline.components.wiring import WiredBoltSpec, keyed_spec, resolve
from stormline.core.aggregate import Aggregate, Aggregation, aggregate_faults
from stormline.core.duration import duration_ms
from stormline.core.errors import SettingsError
from stormline.core.record import Record
from stormline.core.slot import Key
from stormline.core.table import LATE, LATE_FIELDS, STREAMS, Rules, result_fields
from stormline.core.trigger import Every, When
from stormline.core.window import Sliding, Windower, windowers


def _window(value: Any) -> None:
    for windower in windowers(value) or [None]:
        if not isinstance(getattr(windower, "name", None), str):
            raise ValueError('give a window such as tumbling("1h") or calendar("month"), or a list of them')
    names = [windower.name for windower in windowers(value)]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"the window {name} is in the list twice")


def _trigger(value: Any) -> None:
    if not isinstance(value, Every) and not callable(value):
        raise ValueError("write a method trigger(self, result), or give one of every(...)")


def _time(value: Any) -> None:
    if value not in ("event", "processing"):
        raise ValueError('give "event" or "processing"')


def _aggregates(value: Any) -> None:
    if not isinstance(value, dict) or not value:
        raise ValueError('give a dict of aggregates by name, such as {"trades": Count()}')
    faults = aggregate_faults(value)
    if faults:
        raise ValueError("; ".join(faults))


class WindowBolt(KeyedBolt):
    """Aggregates records by key and window.

    The result of an open window is in Redis within about half a second of its records; once the watermark passes its
    end it is final; within the allowed lateness it is revised; after that a record is kept and counted as late.
    """

    settings: ClassVar[dict[str, Any]] = {
        "key": key_setting,
        "none_is_key": flag,
        "window": _window,
        "aggregate": _aggregates,
        "allowed_lateness": duration_ms,
        "trigger": _trigger,
        "keep": duration_ms,
        "time": _time,
        "schema": record_schema,
        "event_time": text,
        "out_of_order": duration_ms,
    }

    key: Key = None
    """A field, a tuple of fields, or a function of the record; None: one result a window, over all records."""
    none_is_key: bool = False
    """A record whose key is None is counted under that key; otherwise it is broken."""
    window: Windower | Sequence[Windower]
    """One kind of window, or several: the aggregates are then computed for each."""
    aggregate: Mapping[str, Aggregate]
    allowed_lateness: str = "0s"
    schema: type[Record] | None = None
    """Behind a stock component: what its plain tuples are read as. They are counted at least once then."""
    event_time: str | None = None
    """The field of `schema` that holds the event time; None: the time of arrival."""
    out_of_order: str = "0s"
    """For records that come from stock components, which tell no progress: a window closes when a record so much past
    its end has been seen on each stream."""
    trigger: Callable[[Any], bool] | Every | None = None
    """When the stream `updates` tells of an open window. Without a trigger: each change, at most once a flush and key.
    `every(...)`: as often as that says. A method `trigger(self, result)` of the result so far (one attribute an
    aggregate): once, when it first holds for a key and window; only then is the key's result shown at all: an alert."""
    keep: str | None = None
    """How long the results of a window stay in Redis after it is done, in wall time; None: for ever."""
    time: str = "event"
    """"processing": a record belongs to the window in which it arrives, and wall time closes windows."""

    @classmethod
    def spec(  # type: ignore[override]
        cls, name: str | None = None, inputs: Any = None, par: Any = None, config: dict[str, Any] | None = None
    ) -> WiredBoltSpec:
        """The component in a topology. `inputs`: specs of what it reads from; `par`: its tasks, at most one a slot."""
        faults = required(cls, "window", "aggregate")
        if cls.keep is not None and duration_ms(cls.allowed_lateness) > duration_ms(cls.keep):
            faults.append(
                f"{cls.__name__}: results are kept for {cls.keep}, but may be revised for {cls.allowed_lateness}"
            )
        counted = isinstance(cls.trigger, Every) and cls.trigger.records > 0
        if counted and any(isinstance(windower, Sliding) for windower in windowers(getattr(cls, "window", ()))):
            faults.append(
                f"{cls.__name__}: the trigger every(records=…) is not for sliding windows, whose rows are put together "
                'when they are written; give a period such as every("1m"), or write a method trigger(self, result)'
            )
        if faults:
            raise SettingsError(*faults)
        fields = {stream: LATE_FIELDS if stream == LATE else result_fields(tuple(cls.aggregate)) for stream in STREAMS}
        spec = keyed_spec(cls, inputs, name=name, par=par, config=config, outputs=fields, reads=cls.schema)
        faults += key_faults(cls, spec.schema)
        try:
            Aggregation(cls.aggregate, spec.schema)
        except ValueError as error:
            faults.append(f"{cls.__name__}: {error}")
        if faults:
            raise SettingsError(*faults)
        return spec

    def rules(self, host: Host) -> Rules:
        context, trigger = host.context, self.trigger
        by_records = isinstance(trigger, Every) and trigger.records > 0
        return Rules(
            context.component,
            windowers(self.window),
            Aggregation(self.aggregate, resolve(context.conf["stormline.schema"]), counted=by_records),
            duration_ms(self.allowed_lateness),
            trigger if isinstance(trigger, Every) or trigger is None else When(trigger),
            frozenset(stream for stream in STREAMS if context.targets.get(stream)),
            None if self.keep is None else duration_ms(self.keep),
            self.time == "processing",
        )
