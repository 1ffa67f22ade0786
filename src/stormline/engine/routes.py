"""Where the tuples of one task go: its streams, their subscribers, and the groupings between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from stormline.core.errors import UserCodeError
from stormline.engine.groupings import Choose, chooser
from stormline.engine.topology import ComponentSpec, TopologySpec


class Route(NamedTuple):
    """One stream of one sending task."""

    name: str
    """Component, task and stream, for messages."""
    width: int
    """Fields declared."""
    choosers: Sequence[Choose]
    """One a subscriber with a regular grouping."""
    regular: frozenset[int]
    """Tasks of the subscribers with a regular grouping."""
    direct: frozenset[int]
    """Tasks of the subscribers with the direct grouping."""

    def targets(self, values: Sequence[Any], task: int | None) -> Sequence[int]:
        """The tasks that receive these values; `task` is the one that the sender named, if it did.

        As `Task.getOutgoingTasks`: naming a task that does not subscribe sends nothing; mixing direct and regular is
        an error.
        """
        name, width, choosers, regular, direct = self
        if len(values) != width:
            raise UserCodeError(f"{name}: emits {len(values)} values, the stream declares {width} fields")
        if task is not None:
            if task in regular:
                raise UserCodeError(f"{name}: emits to task {task}, which has no direct grouping there")
            return (task,) if task in direct else ()
        if direct:
            raise UserCodeError(f"{name}: is read with the direct grouping; name the receiving task")
        try:
            if len(choosers) == 1:
                return choosers[0](values)
            return [target for choose in choosers for target in choose(values)]
        except UserCodeError as error:
            raise UserCodeError(f"{name}: {error}") from error


def routes_of(
    component: ComponentSpec,
    task: int,
    topology: TopologySpec,
    tasks: Mapping[str, Sequence[int]],
    local: Collection[int],
    random: Random,
) -> dict[str, Route]:
    """The routes of one task of `component`, by stream. Each sending task keeps its own place in a shuffle.

    `local`: the tasks in the sender's own worker.
    """
    routes = {}
    for name, stream in component.streams.items():
        choosers: list[Choose] = []
        regular: set[int] = set()
        direct: set[int] = set()
        for subscriber, grouping in subscribers(component.name, name, topology):
            receivers = tasks[subscriber]
            if grouping.kind == "local_or_shuffle":
                receivers = [receiver for receiver in receivers if receiver in local] or receivers
            choose = chooser(grouping, stream.fields, receivers, random)
            if choose is None:
                direct.update(tasks[subscriber])
            else:
                choosers.append(choose)
                regular.update(tasks[subscriber])
        sender = f"{component.name} (task {task}), stream {name!r}"
        routes[name] = Route(sender, len(stream.fields), choosers, frozenset(regular), frozenset(direct))
    return routes


def subscribers(component: str, stream: str, topology: TopologySpec) -> list[tuple[str, Any]]:
    """(component, grouping) of each subscription to a stream, by name."""
    return sorted(
        (reader.name, grouping)
        for reader in topology.components
        for source, name, grouping in reader.inputs
        if (source, name) == (component, stream)
    )
