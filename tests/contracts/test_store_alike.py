"""Whatever is asked in whatever order, both stores say and keep the same."""

from typing import Any

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from store_parts import GRAPH, ask_redis, flush, window

from stormline.connectors.redis import RedisStore, begin_run, clear, connect
from stormline.connectors.results import Results
from stormline.core.requests import Counts, Enter, Load, Loaded, Mark, Refused, Request, WindowChange
from stormline.testing import MemoryStore

OWNERS = st.sampled_from("ab")
RUNS = st.sampled_from([1, 2, 2, 2])
AHEAD = st.sampled_from([1, 1, 2, 0, -1])
SELDOM = st.sampled_from([False] * 9 + [True])
OUTPUTS = st.dictionaries(st.integers(0, 5), st.sampled_from([b'["s",[1]]', b'["s",["x"]]']), max_size=2)
KEEPS = st.sampled_from([None, None, 1_000_000])
COUNTS = st.dictionaries(st.sampled_from("tu"), st.integers(0, 3))
OFFSETS = st.dictionaries(st.sampled_from(["t/0", "t/1"]), st.integers(0, 9), max_size=2)
OF_PANES = {"live": "inner", "done": "gone", "gone": "gone"}


def changed(start: int, final: bool, stage: Any, results: dict[str, str], removed: list[str]) -> WindowChange:
    """Those with an odd start are panes, which are never in the index and never kept."""
    stage = OF_PANES[stage] if start % 2 else stage
    return msgspec.structs.replace(window(start, final=final, stage=stage, **results), removed=removed)


WINDOWS = st.lists(
    st.builds(
        changed,
        st.sampled_from([0, 10, 100, 5, 15]),
        st.booleans(),
        st.sampled_from(["live", "live", "done", "gone"]),
        st.dictionaries(st.sampled_from(["1", "10", "9", "true"]), st.integers(0, 9).map(str), max_size=3),
        st.lists(st.sampled_from(["1", "9"]), max_size=1),
    ),
    max_size=2,
)


class BothStores(RuleBasedStateMachine):
    """The same requests to the scripts and to the store of the kit."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.client = connect(self.url)
        clear(self.client, "app")
        begin_run(self.client, "app", GRAPH)
        self.redis = RedisStore(self.url)
        self.memory = MemoryStore()
        self.memory.begin_run()

    def compare(self, request: Request) -> None:
        expected, actual = ask_redis(self.redis)(request), self.memory.ask(request)
        if isinstance(expected, Refused) and isinstance(actual, Refused):
            assert (expected.halted, expected.outdated) == (actual.halted, actual.outdated)
        elif isinstance(expected, Loaded) and isinstance(actual, Loaded):
            for reply in (expected, actual):
                reply.windows.sort(key=lambda w: w.start_ms)
            assert expected == actual
        else:
            assert expected == actual

    @rule(owner=OWNERS, run=RUNS, again=SELDOM)
    def load(self, owner: str, run: int, again: bool) -> None:
        self.compare(Load("bolt", 3, owner, run, again))

    @rule(
        flushes=st.lists(st.tuples(SELDOM, AHEAD, WINDOWS, st.integers(0, 2), OUTPUTS), min_size=1, max_size=4),
        keep=KEEPS,
        now=st.integers(0, 3),
    )
    def flush(self, flushes: list[tuple[bool, int, list[WindowChange], int, Any]], keep: int | None, now: int) -> None:
        for stranger, ahead, windows, late, outputs in flushes:
            slot = self.memory.slots.get(("bolt", 3))
            owner, sequence = (slot.owner, slot.sequence) if slot is not None else ("a", 0)
            owner = "stranger" if stranger else owner
            more = {"outputs": outputs, "delivered": [2], "next_output": 6, "keep_ms": keep, "now_ms": now * 1_000_000}
            self.compare(flush(sequence + ahead, *windows, owner=owner, late=late, floor=sequence, **more))

    @rule(
        partitions=st.integers(1, 8), beyond=SELDOM, also=SELDOM, topics=COUNTS, forgotten=OFFSETS, found=st.booleans()
    )
    def enter(
        self, partitions: int, beyond: bool, also: bool, topics: dict[str, int], forgotten: dict[str, int], found: bool
    ) -> None:
        committed = {p: o + beyond for p, o in self.memory.commits.items()} | ({"t/2": 0} if also else {})
        kept = {p: o for p, o in committed.items() if p not in forgotten}
        self.compare(Enter("spout", partitions, kept, ("t/0", "t/1", "t/2"), counts=topics, by_pattern=found))
        self.compare(Counts())

    @rule(committed=OFFSETS, beyond=SELDOM)
    def mark(self, committed: dict[str, int], beyond: bool) -> None:
        self.compare(Mark(committed, {p: self.memory.commits.get(p, -1) + beyond for p in committed}))

    @rule()
    def begin_run(self) -> None:
        self.client.delete("{app}:halt")
        self.memory.halted = None
        assert begin_run(self.client, "app", GRAPH) == self.memory.begin_run()

    @rule()
    def another_process(self) -> None:
        """To a client that has loaded nothing, the server might as well have been restarted."""
        self.redis.close()
        self.redis = RedisStore(self.url)
        self.memory.restart()

    def teardown(self) -> None:
        results = Results(self.client, "app")
        rows, late = list(results.rows("bolt")), results.late("bolt")
        self.redis.close()
        self.client.close()
        assert rows == self.memory.rows("bolt")
        assert late == self.memory.late("bolt")


def test_both_stores_answer_alike(url: str) -> None:
    """
    Whatever is asked in whatever order, the scripts and the store of the kit say the same and keep the same.
    """
    machine = type("Stores", (BothStores,), {"url": url})
    # Not shrunk: with a server behind it that takes minutes.
    phases = [Phase.generate]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, deadline=None, derandomize=True, phases=phases)
    )
