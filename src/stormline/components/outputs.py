"""Where a stateless step's records go: on the `batch` stream, on one stream a keyed bolt below, as plain tuples, and
through the components that are chained below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stormline.components.chaining import links
from stormline.components.host import Host
from stormline.components.keys import keys_of, slots_of_conf
from stormline.components.plain_tuples import DEFAULT, plain_values
from stormline.components.wiring import BATCH, resolve
from stormline.core.batch import Batch, Rows
from stormline.core.errors import raised
from stormline.core.split import Broken, Kept, Split, keep
from stormline.core.status import Status

Predicate = Callable[[Any], Any]


class Sent(NamedTuple):
    """What came of a batch."""

    tuples: list[tuple[str, Any]]
    """(stream, values)"""
    broken: list[tuple[str, Broken]]
    """The records on which user code raised, each with the name of the component whose code it was."""


class Outputs:
    """The subscribed output streams of one task. `predicate`: what its component keeps; None: everything."""

    def __init__(self, host: Host, predicate: Predicate | None = None) -> None:
        context = host.context
        splits = context.conf.get("stormline.splits", {})
        own = _Step(host, context.component, {stream: stream for stream in context.targets}, splits, predicate)
        steps: dict[str | None, _Step] = {None: own}
        for link in links(context.conf):
            component = resolve(link.path).make()
            component.host = host
            step = steps[link.name] = _Step(host, link.name, link.streams, link.splits, component.keep)
            steps[link.above].below.append(step)
            own.status.chained[link.name] = step.status
        self._own = own
        self.splits = own.splits
        self.status = own.status
        """The counts of this task's component, and of those chained to it."""

    def keep(self, rows: Rows) -> Kept:
        """What the task's own component keeps; nothing is counted."""
        return keep(rows, self._own.predicate, self.splits)

    def take(self, lane: str, partition: str, rows: Rows, attempt: int) -> Sent:
        """Run the user's code over the rows, and count them; the lane grows by each component and stream.

        Stock components, if any have subscribed, get a tuple for each record.
        """
        sent = Sent([], [])
        self._own.take(lane, partition, rows, attempt, sent)
        return sent


class _Step:
    """One stateless component in a task. `streams`: what its streams are called in Storm."""

    def __init__(
        self,
        host: Host,
        component: str,
        streams: Mapping[str, str],
        splits: Mapping[str, str],
        predicate: Predicate | None,
    ) -> None:
        context = host.context
        self._component = component
        self._streams = streams
        self._batch, self._plain = (bool(context.targets.get(streams.get(name, ""))) for name in (BATCH, DEFAULT))
        self.predicate = predicate
        slots = slots_of_conf(context.conf)
        self.splits = [
            Split(stream, keys_of(resolve(path)), len(context.tasks_by_component[target]), slots)
            for stream, path in splits.items()
            for target in context.targets.get(streams.get(stream, ""), ())
        ]
        self.status = Status(settled=True)
        self.below: list[_Step] = []

    def take(self, lane: str, partition: str, rows: Rows, attempt: int, sent: Sent) -> None:
        kept = keep(rows, self.predicate, self.splits)
        status = self.status
        status.records_in += len(rows.offsets)
        status.records_out += len(kept.rows.offsets)
        status.dropped += kept.dropped
        status.broken += len(kept.broken)
        sent.broken.extend((self._component, broken) for broken in kept.broken)
        here = f"{lane}/{self._component}" if lane else self._component
        if self._plain:
            sent.tuples.extend((self._streams[DEFAULT], plain_values(record)) for record in kept.rows.values)
        for piece, keys in kept.pieces():
            if not piece.offsets:
                continue
            if self._batch:
                sent.tuples.append((self._streams[BATCH], Batch(-1, f"{here}.{BATCH}", partition, piece, attempt)))
            for split, column in zip(self.splits, keys, strict=True):
                batches = split.batches(f"{here}.{split.stream}", partition, piece, column, attempt)
                sent.tuples.extend((self._streams[split.stream], batch) for batch in batches)
            for step in self.below:
                step.take(f"{here}.{BATCH}", partition, piece, attempt, sent)


def broken_reason(component: str, value: Any, error: Exception) -> str:
    """Component, function with file and line, what was raised, what came."""
    return f"{raised_where(component, error)}; the record was {value!r}"


def raised_where(component: str, error: Exception) -> str:
    """Component, function with file and line, what was raised."""
    return f"{component}: {raised(error)}"
