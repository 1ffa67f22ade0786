"""Storm's numbering of tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormline.engine.tasks import assign_tasks, executors, task_count


def test_ids_run_from_1_through_the_components_sorted_as_java_sorts_strings():
    """Upper case comes before the underscore of `__acker`, lower case behind it."""
    assert assign_tasks({"bolt": 2, "__acker": 1, "Zeta": 3, "spout": 1}) == {
        "Zeta": range(1, 4),
        "__acker": range(4, 5),
        "bolt": range(5, 7),
        "spout": range(7, 8),
    }


def test_names_compare_by_utf_16_code_units():
    """A character beyond 16 bits is a surrogate pair to Java, so it sorts before U+FF5E; by code point it would not."""
    assert list(assign_tasks({"\uff5e": 1, "\U0001f600": 1})) == ["\U0001f600", "\uff5e"]


@pytest.mark.parametrize(
    ("parallelism", "tasks", "most", "expected"),
    [(3, None, None, 3), (3, 8, None, 8), (3, None, 2, 2), (3, 8, 4, 4), (3, 2, 4, 2)],
)
def test_topology_tasks_beats_the_hint_and_the_cap_beats_both(parallelism, tasks, most, expected):
    """Number of tasks = `topology.tasks`, else the hint, never above `topology.max.task.parallelism`."""
    assert task_count(parallelism, tasks=tasks, most=most) == expected


def test_ten_tasks_in_three_executors_are_cut_into_4_3_3():
    """Executors take consecutive ids, the larger runs first."""
    assert executors(range(1, 11), 3) == [range(1, 5), range(5, 8), range(8, 11)]


@given(tasks=st.integers(1, 50), count=st.integers(1, 60))
def test_executors_partition_the_tasks_evenly(tasks, count):
    """Every task is in one executor, sizes differ by one at most and never grow."""
    runs = executors(range(tasks), count)
    sizes = [len(run) for run in runs]
    assert [task for run in runs for task in run] == list(range(tasks))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert len(runs) == min(count, tasks)
