"""How Storm numbers tasks: which component gets how many, under which ids, cut into which executors.

Source: Storm's `StormCommon.stormTaskInfo`, `Nimbus.componentParallelism` and `Utils.partitionFixed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ACKER = "__acker"
SYSTEM = "__system"
SYSTEM_TASK = -1


def task_count(parallelism: int, *, tasks: int | None, most: int | None) -> int:
    """Tasks of a component: `topology.tasks` if set, else the parallelism hint; never above the cap
    `topology.max.task.parallelism`."""
    wanted = parallelism if tasks is None else tasks
    return wanted if most is None else min(wanted, most)


def assign_tasks(counts: Mapping[str, int]) -> dict[str, range]:
    """Component -> its task ids. Ids start at 1 and run through all components, sorted by name as Java sorts strings.

    Java compares UTF-16 code units: upper case before `_` before lower case, so `Zeta` stands before `__acker`.
    """
    ids: dict[str, range] = {}
    first = 1
    for name in sorted(counts, key=_java_order):
        ids[name] = range(first, first + counts[name])
        first += counts[name]
    return ids


def executors(tasks: Sequence[int], count: int) -> list[Sequence[int]]:
    """The tasks cut into `count` consecutive runs (fewer if there are fewer tasks), the larger ones first."""
    pieces = min(count, len(tasks))
    runs: list[Sequence[int]] = []
    start = 0
    for left in range(pieces, 0, -1):
        size = -(-(len(tasks) - start) // left)
        runs.append(tasks[start : start + size])
        start += size
    return runs


def spread(runs: Sequence[Sequence[int]], workers: int) -> dict[int, int]:
    """Task -> worker (from 0): executors, in the order of their first tasks, are dealt out in turn.

    Source: `EvenScheduler.scheduleTopology`.
    """
    dealt = enumerate(sorted(runs, key=lambda run: run[0]))
    return {task: number % workers for number, run in dealt for task in run}


def _java_order(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")
