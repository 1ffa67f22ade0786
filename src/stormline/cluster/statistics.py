"""Storm's own counters of a topology, component by component, as Nimbus adds them up.

Times are milliseconds, averages over the window. Counts go in steps of 1 / `topology.stats.sample.rate`: 20.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from stormline.cluster.topologies import Listed, components
from stormline.core.errors import SettingsError

WINDOWS: Final = {"10m": "600", "3h": "10800", "1d": "86400", "all": ":all-time"}
"""The windows that Storm keeps, by the names we give them."""


class Error(NamedTuple):
    """What a component reported. `at_s`: seconds since 1970."""

    text: str
    at_s: int
    host: str | None
    port: int | None


class Component(NamedTuple):
    """None where a figure has no meaning: spouts have a complete latency, bolts the others and a capacity, the share of
    the time that they were busy.
    """

    component: str
    kind: str
    executors: int
    tasks: int
    emitted: int
    transferred: int
    executed: int | None
    acked: int
    failed: int
    complete_ms: float | None
    execute_ms: float | None
    process_ms: float | None
    capacity: float | None
    last_error: Error | None


class Input(NamedTuple):
    """What a bolt received of one stream of `component`."""

    component: str
    stream: str
    executed: int
    acked: int
    failed: int
    execute_ms: float
    process_ms: float


class Output(NamedTuple):
    """What a component emitted on one of its streams; what came of it is known of spouts alone."""

    stream: str
    emitted: int
    transferred: int
    acked: int | None
    failed: int | None
    complete_ms: float | None


class Executor(NamedTuple):
    """Tasks `first` to `last` of a component, in one thread of the worker at host:port."""

    first: int
    last: int
    host: str
    port: int
    uptime_s: int
    emitted: int
    executed: int | None
    acked: int
    failed: int
    capacity: float | None


class Detail(NamedTuple):
    """One component more closely."""

    component: str
    kind: str
    inputs: list[Input]
    outputs: list[Output]
    executors: list[Executor]
    errors: list[Error]


def of_topology(client: Any, topology: Listed, window: str) -> list[Component]:
    """`window`: a value of WINDOWS."""
    return [_component(name, each) for name, each in components(client, topology, window).items()]


def of_component(client: Any, topology: Listed, name: str, window: str) -> Detail:
    """Raises SettingsError if there is no such component."""
    known = components(client, topology)
    if name not in known:
        raise SettingsError(f'{topology.name} has no component "{name}"; it has: {", ".join(sorted(known))}')
    page = client.getComponentPageInfo(topology.id, name, window, False)
    inputs = [
        _input(source.componentId, source.streamId, each) for source, each in (page.gsid_to_input_stats or {}).items()
    ]
    outputs = [_output(stream, each) for stream, each in (page.sid_to_output_stats or {}).items()]
    return Detail(
        name,
        _component(name, known[name]).kind,
        inputs,
        outputs,
        [_executor(each) for each in page.exec_stats or ()],
        [_error(each) for each in page.errors or ()],
    )


def _component(name: str, stats: Any) -> Component:
    common, spout, bolt = _parts(stats)
    return Component(
        name,
        "spout" if spout is not None else "bolt",
        common.num_executors or 0,
        common.num_tasks or 0,
        common.emitted or 0,
        common.transferred or 0,
        (bolt.executed or 0) if bolt is not None else None,
        common.acked or 0,
        common.failed or 0,
        spout.complete_latency_ms if spout is not None else None,
        bolt.execute_latency_ms if bolt is not None else None,
        bolt.process_latency_ms if bolt is not None else None,
        bolt.capacity if bolt is not None else None,
        _error(stats.last_error) if stats.last_error is not None else None,
    )


def _input(component: str, stream: str, stats: Any) -> Input:
    common, _, bolt = _parts(stats)
    return Input(
        component,
        stream,
        bolt.executed or 0,
        common.acked or 0,
        common.failed or 0,
        bolt.execute_latency_ms or 0.0,
        bolt.process_latency_ms or 0.0,
    )


def _output(stream: str, stats: Any) -> Output:
    common, spout, _ = _parts(stats)
    return Output(
        stream,
        common.emitted or 0,
        common.transferred or 0,
        (common.acked or 0) if spout is not None else None,
        (common.failed or 0) if spout is not None else None,
        spout.complete_latency_ms if spout is not None else None,
    )


def _executor(each: Any) -> Executor:
    summary = each.exec_summary
    common, _, bolt = _parts(each.stats)
    return Executor(
        summary.executor_info.task_start,
        summary.executor_info.task_end,
        summary.host,
        summary.port,
        summary.uptime_secs,
        common.emitted or 0,
        (bolt.executed or 0) if bolt is not None else None,
        common.acked or 0,
        common.failed or 0,
        bolt.capacity if bolt is not None else None,
    )


def _parts(stats: Any) -> tuple[Any, Any, Any]:
    """(what all have, what spouts have or None, what bolts have or None)."""
    specific = stats.specific_stats
    return stats.common_stats, specific.spout if specific else None, specific.bolt if specific else None


def _error(error: Any) -> Error:
    return Error(error.error, error.error_time_secs, error.host, error.port)
