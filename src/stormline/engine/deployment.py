"""A topology laid out over tasks: which ids, which configuration, and what each task is told of it at the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stormline.components.host import Context
from stormline.core.errors import SettingsError
from stormline.engine.conf import component_conf, positive
from stormline.engine.defaults import STORM
from stormline.engine.handshake import handshake
from stormline.engine.routes import subscribers
from stormline.engine.tasks import ACKER, assign_tasks, executors, spread, task_count
from stormline.engine.topology import TopologySpec, cycle


class Deployment:
    """Pure: nothing of it changes while the topology runs. Raises `SettingsError` for settings that cannot be."""

    def __init__(self, topology: TopologySpec, *, name: str, conf: Mapping[str, Any]) -> None:
        self.topology = topology
        self.name = name
        self.conf = {**STORM, **topology.conf, **conf, "topology.name": name}
        self.specs = {component.name: component for component in topology.components}
        merged = {component.name: component_conf(self.conf, component.conf) for component in topology.components}
        self._confs = {component: conf for component, (conf, _) in merged.items()}
        self.ignored = {component: keys for component, (_, keys) in merged.items() if keys}
        """Component -> keys of its own configuration that Storm heeds for a whole topology only."""
        self.tasks = assign_tasks(dict(self._counts()))
        """Component -> its task ids, ascending; `__acker` included."""
        self.hosted = {task: self.specs[name] for name, ids in self.tasks.items() if name in self.specs for task in ids}
        """Task id -> its component, for all tasks but the ackers, ascending."""
        self.workers = positive(self.conf, "topology.workers") or 1
        runs = [run for name, ids in self.tasks.items() for run in executors(ids, self._parallelism(name))]
        self.place = spread(runs, self.workers)
        """Task id -> number of its worker, ackers included."""
        timeout_secs = positive(self.conf, "topology.message.timeout.secs")
        timeouts = self.conf["topology.enable.message.timeouts"]
        self.timeout_ms = timeout_secs * 1000 if timeouts and timeout_secs else None
        """The message timeout; None if tuples never time out."""
        around = cycle(topology.components)
        if around and self.timeout_ms is None:
            raise SettingsError(
                f"the streams form a cycle ({' -> '.join(around)}) and tuples never time out: what goes round for ever "
                "would never fail; leave topology.enable.message.timeouts on"
            )
        self.tick_ms = {
            task: secs * 1000 for task, secs in self._numbers("topology.tick.tuple.freq.secs", spouts=False)
        }
        """Bolt task -> time between its ticks, for those that want them."""
        self.most_pending = {
            task: (limit * len(run), run)
            for task, limit in self._numbers("topology.max.spout.pending", spouts=True)
            for run in executors(self.tasks[self.hosted[task].name], self.hosted[task].parallelism)
            if task in run
        }
        """Spout task -> (tuples that may be pending, the tasks they are counted over: those of its executor)."""

    def context(self, task: int) -> Context:
        spec = self.hosted[task]
        targets = {
            stream: [component for component, _ in subscribers(spec.name, stream, self.topology)]
            for stream in spec.streams
        }
        return Context(
            topology=self.name,
            component=spec.name,
            task=task,
            tasks_by_component=self.tasks,
            targets=targets,
            sources=[(source.component, source.stream) for source in spec.inputs],
            conf=self._confs[spec.name],
        )

    def handshake(self, task: int) -> dict[str, Any]:
        """What Storm would tell this task at the start; see `engine.handshake`."""
        spec = self.hosted[task]
        conf = {**self._confs[spec.name], "topology.acker.executors": len(self.tasks[ACKER])}
        if spec.is_spout and self.timeout_ms is not None:
            conf["topology.tick.tuple.freq.secs"] = self.timeout_ms // 1000  # it rotates the pending tuples there
        return handshake(spec, task, self.topology, self.tasks, conf)

    def _parallelism(self, component: str) -> int:
        return self.specs[component].parallelism if component in self.specs else len(self.tasks[component])

    def _counts(self) -> Iterator[tuple[str, int]]:
        for spec in self.topology.components:
            merged = {**self.conf, **spec.conf}
            yield (
                spec.name,
                task_count(
                    spec.parallelism,
                    tasks=positive(merged, "topology.tasks"),
                    most=positive(merged, "topology.max.task.parallelism"),
                ),
            )
        if self.conf.get("topology.acker.executors") == 0:
            ours = [spec.name for spec in self.topology.components if "stormline.schema" in spec.conf]
            if ours:
                raise SettingsError(
                    f"topology.acker.executors is 0: {', '.join(ours)} would not know which records are taken care of, "
                    "and could lose some; leave it unset, or set 1"
                )
            yield ACKER, 0
            return
        yield ACKER, positive(self.conf, "topology.acker.executors") or positive(self.conf, "topology.workers") or 1

    def _numbers(self, key: str, *, spouts: bool) -> Iterator[tuple[int, int]]:
        """(task, value) for each task of a spout, or of a bolt, whose configuration sets `key`."""
        for task, spec in self.hosted.items():
            value = positive(self._confs[spec.name], key)
            if value is not None and spec.is_spout is spouts:
                yield task, value
