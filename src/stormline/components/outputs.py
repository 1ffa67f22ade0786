"""Where a stateless step's records go: on the `batch` stream, on one stream a keyed bolt below, and as plain tuples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stormline.components.host import Host
from stormline.components.keys import keys_of, slots_of_conf
from stormline.components.plain_tuples import DEFAULT, plain_values
from stormline.components.wiring import BATCH, resolve
from stormline.core.batch import Batch, Rows
from stormline.core.errors import raised
from stormline.core.split import Kept, Split, keep


class Outputs:
    """The subscribed output streams of one task."""

    def __init__(self, host: Host) -> None:
        context = host.context
        self._batch = bool(context.targets.get(BATCH))
        self._plain = bool(context.targets.get(DEFAULT))
        self._component = context.component
        slots = slots_of_conf(context.conf)
        self.splits = [
            Split(stream, keys_of(resolve(path)), len(context.tasks_by_component[target]), slots)
            for stream, path in context.conf.get("stormline.splits", {}).items()
            for target in context.targets.get(stream, ())
        ]

    def keep(self, rows: Rows, predicate: Callable[[Any], Any] | None) -> Kept:
        """Run the user's code over the rows."""
        return keep(rows, predicate, self.splits)

    def tuples(self, lane: str, partition: str, kept: Kept) -> list[tuple[str, Any]]:
        """(stream, values) of each tuple that carries what was kept; the lane grows by this component and stream.

        Stock components, if any have subscribed, get a tuple for each record.
        """
        here = f"{lane}/{self._component}" if lane else self._component
        tuples: list[tuple[str, Any]] = []
        if self._plain:
            tuples += [(DEFAULT, plain_values(record)) for record in kept.rows.values]
        for rows, keys in kept.pieces():
            if self._batch and rows.offsets:
                tuples.append((BATCH, Batch(-1, f"{here}.{BATCH}", partition, rows)))
            for split, column in zip(self.splits, keys, strict=True):
                batches = split.batches(f"{here}.{split.stream}", partition, rows, column)
                tuples += [(split.stream, batch) for batch in batches]
        return tuples


def broken_reason(component: str, value: Any, error: Exception) -> str:
    """Component, function with file and line, what was raised, what came."""
    return f"{raised_where(component, error)}; the record was {value!r}"


def raised_where(component: str, error: Exception) -> str:
    """Component, function with file and line, what was raised."""
    return f"{component}: {raised(error)}"
