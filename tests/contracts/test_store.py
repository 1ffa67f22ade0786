"""One contract, two stores: the scripts in a real server, and the store of the testing kit."""

import queue
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from stormline.connectors.progress import pass_over, progress
from stormline.connectors.redis import RedisStore, begin_run, clear, connect, resume
from stormline.connectors.results import Results, Row
from stormline.connectors.versions import Version
from stormline.core import report
from stormline.core.errors import StateError
from stormline.core.report import PartitionReport
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Ended,
    Ends,
    Enter,
    Entered,
    Flush,
    Gone,
    Load,
    Loaded,
    LoadedWindow,
    Mark,
    Refused,
    Reply,
    Report,
    Request,
    Skips,
    Stage,
    Tried,
    Try,
    Unknown,
    WindowChange,
)
from stormline.embedded.servers import EmbeddedServers
from stormline.testing import MemoryStore

Ask = Callable[[Request], Reply]


STANDING = PartitionReport(
    spout="s",
    task=1,
    at_ms=5,
    frontier=7,
    position=9,
    log_end=11,
    watermark_ms=None,
    idle=False,
    held_by=(7, 8),
    failures=2,
)


def ask_redis(store: RedisStore) -> Ask:
    def ask(request: Request) -> Reply:
        replies: queue.SimpleQueue[list[Reply]] = queue.SimpleQueue()
        store.submit("app", [request], replies.put, lambda call: call())
        (reply,) = replies.get(timeout=10)
        return reply

    return ask


@pytest.fixture
def on_redis(url: str) -> Iterator[Ask]:
    client = connect(url)
    clear(client, "app")
    begin_run(client, "app", GRAPH)
    store = RedisStore(url)
    yield ask_redis(store)
    store.close()
    client.close()


@pytest.fixture(params=["redis", "memory"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "redis":
        found: Ask = request.getfixturevalue("on_redis")
        return found
    memory = MemoryStore()
    memory.begin_run()
    return memory.ask


def flush(
    sequence: int, *windows: WindowChange, owner: str = "me", late: int = 0, floor: int = 0, **more: Any
) -> Flush:
    records = {
        number: msgspec.json.encode(
            {
                "number": number,
                "key": "k",
                "window": "w",
                "time_ms": 1,
                "partition": "t/0",
                "offset": number,
                "record": {},
            }
        )
        for number in range(late)
    }
    return Flush(
        "bolt", 3, owner, sequence, {"t/0": floor}, {"lane": {"t/0": [7, 9]}}, 50, late, records, list(windows), **more
    )


def window(start: int = 0, *, final: bool = False, stage: Stage = "live", **results: str) -> WindowChange:
    return WindowChange("w", f"{start}@k:1", start, start + 10, final, 0, results, results, stage)


GRAPH, OTHER = Version("graph", {"bolt": {"key": "user"}}), Version("other", {"bolt": {"key": "customer"}})

OWNERS = st.sampled_from("ab")
RUNS = st.sampled_from([1, 2, 2, 2])
AHEAD = st.sampled_from([1, 1, 2, 0, -1])
SELDOM = st.sampled_from([False] * 9 + [True])
OUTPUTS = st.dictionaries(st.integers(0, 5), st.sampled_from([b'["s",[1]]', b'["s",["x"]]']), max_size=2)
KEEPS = st.sampled_from([None, None, 1_000_000])
OFFSETS = st.dictionaries(st.sampled_from(["t/0", "t/1"]), st.integers(0, 9), max_size=2)
WINDOWS = st.lists(
    st.builds(
        lambda start, final, stage, results, removed: msgspec.structs.replace(
            window(start, final=final, stage=stage, **results), removed=removed
        ),
        st.sampled_from([0, 10, 100]),
        st.booleans(),
        st.sampled_from(["live", "live", "inner", "done", "gone"]),
        st.dictionaries(st.sampled_from(["1", "10", "9", "true"]), st.integers(0, 9).map(str), max_size=3),
        st.lists(st.sampled_from(["1", "9"]), max_size=1),
    ),
    max_size=2,
)


def rows(request: pytest.FixtureRequest) -> list[Row]:
    """What is shown of the bolt, in the store that the test asks."""
    if "on_redis" not in request.fixturenames and request.node.callspec.params["ask"] == "memory":
        ask: Any = request.getfixturevalue("ask")
        found: list[Row] = ask.__self__.rows("bolt")
        return found
    with connect(request.getfixturevalue("url")) as client:
        return list(Results(client, "app").rows("bolt"))


def loaded(ask: Ask, owner: str = "me", run: int = 1, *, again: bool = False) -> Loaded:
    reply = ask(Load("bolt", 3, owner, run, again))
    assert isinstance(reply, Loaded), reply
    return reply


def test_a_slot_comes_back_as_it_was_flushed(ask: Ask) -> None:
    """
    Sequence, floor, included offsets, watermark, late count and live windows survive their owner.
    """
    assert Loaded(3, 0, {}, {}, None, 0, []) == loaded(ask)

    assert isinstance(ask(flush(1, window(k="1"), late=2, floor=5)), Applied)
    expected = LoadedWindow("w", "0@k:1", 0, 10, False, 0, {"k": "1"}, {"k": "1"})
    assert Loaded(3, 1, {"t/0": 5}, {"lane": {"t/0": [7, 9]}}, 50, 2, [expected]) == loaded(ask, "next")


def test_an_output_stays_until_it_is_delivered(ask: Ask) -> None:
    """
    What was to be sent comes back to the next owner, with its number; what has arrived does not.
    """
    loaded(ask)
    ask(flush(1, outputs={4: b'["s",[1]]', 5: b'["s",[2]]'}, next_output=6))
    ask(flush(2, delivered=[4], next_output=6))

    back = loaded(ask, "next")
    assert ({5: b'["s",[2]]'}, 6) == (back.outputs, back.next_output)


def test_what_is_done_is_kept_as_long_as_is_said(ask: Ask, request: pytest.FixtureRequest) -> None:
    """
    The flush after that time takes the results and their entry in the index away.
    """
    loaded(ask)
    ask(flush(1, window(0, stage="done", **{"1": "1"}), window(10, **{"1": "1"}), now_ms=1_000_000, keep_ms=500_000))
    ask(flush(2, window(10, **{"1": "2"}), now_ms=1_499_999, keep_ms=500_000))
    assert [0, 10] == [row.start_ms for row in rows(request)]

    ask(flush(3, window(10, **{"1": "3"}), now_ms=1_500_000, keep_ms=500_000))
    assert [10] == [row.start_ms for row in rows(request)]


def test_only_the_owner_writes(ask: Ask) -> None:
    """
    A flush of an earlier owner is refused and changes nothing.
    """
    loaded(ask, "old")
    loaded(ask, "new")

    assert isinstance(ask(flush(1, window(k="1"), owner="old")), Refused)
    assert [] == loaded(ask, "new").windows


def test_an_older_flush_has_no_effect(ask: Ask) -> None:
    """
    A delayed flush of the same owner does not bring old values back.
    """
    loaded(ask)
    ask(flush(2, window(k="2")))

    assert isinstance(ask(flush(1, window(k="1"))), Applied)
    assert {"k": "2"} == loaded(ask).windows[0].results


def test_a_forgotten_window_is_not_loaded_again(ask: Ask) -> None:
    """
    What is closed and past its lateness stays as a result, and costs a new owner nothing.
    """
    loaded(ask)
    ask(flush(1, window(0, k="1"), window(10, k="1")))
    ask(flush(2, window(0, final=True, stage="done")))

    assert [10] == [w.start_ms for w in loaded(ask).windows]


def test_thousands_of_rows_go_in_one_flush(ask: Ask) -> None:
    """
    Lua's limit on arguments does not show.
    """
    loaded(ask)
    rows = {f"key{i}": str(i) for i in range(9001)}
    assert isinstance(ask(flush(1, window(**rows))), Applied)

    assert 9001 == len(loaded(ask).windows[0].results)


def test_an_older_run_can_load_nothing(ask: Ask) -> None:
    """
    Once a newer run owns a slot, an older one is told that it is outdated.
    """
    loaded(ask, "new", 2)
    reply = ask(Load("bolt", 3, "old", 1))

    assert isinstance(reply, Refused)
    assert reply.outdated


def test_loading_again_takes_back_only_ones_own(ask: Ask) -> None:
    """
    After a restart of the server a task keeps its slot, unless another has taken it.
    """
    loaded(ask, "me")
    loaded(ask, "me", again=True)
    loaded(ask, "other")

    assert isinstance(ask(Load("bolt", 3, "me", 1, True)), Refused)


def test_a_slot_that_was_not_loaded_is_not_flushed(ask: Ask) -> None:
    """
    A flush without a load in this life of the server is sent nowhere.
    """
    assert isinstance(ask(flush(1)), Gone)


def test_kafka_ahead_of_redis_halts_the_app(ask: Ask) -> None:
    """
    More committed in Kafka than is known here means lost data: nobody enters, nobody loads.
    """
    assert isinstance(ask(Enter("spout", 4, {})), Entered)
    assert Counted({"spout": 4}) == ask(Counts())
    assert isinstance(ask(Mark({"t/0": 5}, {})), Applied)
    assert isinstance(ask(Enter("spout", 2, {"t/0": 5})), Entered)
    assert Counted({"spout": 4}) == ask(Counts())

    for request in (Enter("spout", 4, {"t/0": 6}), Enter("spout", 4, {}), Load("bolt", 3, "me", 1)):
        reply = ask(request)
        assert isinstance(reply, Refused)
        assert reply.halted


def test_a_topic_made_anew_halts_the_app(ask: Ask) -> None:
    """
    The same name with another id: what is counted comes from records that are gone. Other topics, and brokers that
    have no ids, are no reason.
    """
    assert isinstance(ask(Mark({"t:old/0": 5, "tt:old/0": 5, "u/0": 5}, {})), Applied)
    for names in (("t:old/0", "t:old/1"), ("tt:old/0",), ("v:new/0",), ("u/0",), ("u:new/0",), ("t/0",)):
        assert isinstance(ask(Enter("spout", 2, {}, names)), Entered)

    for request in (Enter("spout", 2, {}, ("t:new/0", "t:new/1")), Enter("spout", 2, {}, ("t:old/0",))):
        reply = ask(request)
        assert isinstance(reply, Refused)
        assert reply.halted
        assert "topic t was deleted and made anew" in reply.why


def test_a_lost_mark_halts_the_app(ask: Ask) -> None:
    """
    What this spout has written and is no longer there was lost; marks otherwise only go up.
    """
    assert isinstance(ask(Mark({"t/0": 5}, {})), Applied)
    assert isinstance(ask(Mark({"t/0": 3}, {"t/0": 3})), Applied)
    assert isinstance(ask(Mark({"t/0": 6}, {"t/0": 5})), Applied)

    reply = ask(Mark({"t/0": 9}, {"t/0": 8}))
    assert isinstance(reply, Refused)
    assert reply.halted


def test_nothing_is_marked_while_the_run_marker_is_lost(url: str) -> None:
    """
    So a task that was refused when it entered waits, instead of taking the halt for over and dying again and again.
    """
    memory, client, store = MemoryStore(), connect(url), RedisStore(url)
    clear(client, "app")
    for each in (memory.ask, ask_redis(store)):
        for mark in (Mark({}, {}), Mark({"t/0": 5}, {})):
            reply = each(mark)
            assert isinstance(reply, Refused)
            assert (True, "Redis has lost the run marker of this app") == (reply.halted, reply.why)
    assert ({}, {}) == (memory.commits, client.hgetall("{app}:commits"))
    store.close()
    client.close()


def test_starts_without_progress_are_counted_until_a_partition_gets_on(ask: Ask) -> None:
    """
    Only of partitions that have something to read; after a mark that says so it is the first start again.
    """
    enter = Enter("spout", 2, {}, ("t/0", "t/1"), ("t/0",))
    assert [1, 2] == [ask(enter).starts["t/0"] for _ in range(2)]  # type: ignore[union-attr]
    ask(Mark({"t/0": 5}, {}))
    assert Entered({"t/0": 3}, frozenset()) == ask(enter)
    ask(Mark({"t/0": 6}, {"t/0": 5}, ("t/0",)))
    assert Entered({"t/0": 1}, frozenset()) == ask(enter)
    assert Entered({}, frozenset()) == ask(Enter("spout", 2, {}, ("t/0", "t/1")))


def test_one_record_at_a_time_is_out_alone_and_to_blame_if_its_task_comes_again(url: str, on_redis: Ask) -> None:
    """
    Only the task that has it may name the next, or none; whoever enters with its partition finds that it died.
    """
    granted = [on_redis(Try(owner, p, 7)) for owner, p in (("a", "t:x/0"), ("b", "t:x/1"), ("b", ""), ("a", "t:x/2"))]
    assert [Tried(True), Tried(False), Tried(False), Tried(True)] == granted
    with connect(url) as client:
        on_redis(Enter("spout", 3, {}, ("t:x/0", "t:x/1")))
        assert {} == progress(client, "app").blamed
        for _ in range(2):
            on_redis(Enter("spout", 3, {}, ("t:x/2",)))
        assert {("t:x/2", 7): 1} == progress(client, "app").blamed
    assert Tried(True) == on_redis(Try("b", "t:x/1", 3))
    assert [Tried(True), Tried(True)] == [on_redis(Try("b")), on_redis(Try("c", "t:x/0", 3))]


def test_of_records_that_were_out_together_none_is_to_blame(url: str, on_redis: Ask) -> None:
    """
    Nobody knows which one it was; but their task no longer holds up the others.
    """
    with connect(url) as client:
        for comes_again in (
            lambda: on_redis(Enter("spout", 3, {}, ("t:x/0",))),
            lambda: begin_run(client, "app", GRAPH),
        ):
            assert Tried(True) == on_redis(Try("a", "t:x/0", 7, 5))
            assert Tried(False) == on_redis(Try("b", "t:x/1", 3))
            comes_again()
            assert {} == progress(client, "app").blamed
            assert [Tried(True), Tried(True)] == [on_redis(Try("b", "t:x/1", 3)), on_redis(Try("b"))]


def test_a_record_that_was_out_alone_when_its_run_ended_is_to_blame_in_the_next(url: str, on_redis: Ask) -> None:
    """
    Its partition may never be entered again; else nothing could be tried any more.
    """
    on_redis(Try("a", "t:x/0", 7))
    with connect(url) as client:
        begin_run(client, "app", GRAPH)
        assert {("t:x/0", 7): 1} == progress(client, "app").blamed
    assert Tried(True) == on_redis(Try("b", "t:x/1", 3))


def test_where_partitions_stand_and_what_is_passed_over_is_read_back(url: str, on_redis: Ask) -> None:
    """
    The report of a partition; and a record is passed over once, however often that is said. Starts are counted anew.
    """
    on_redis(Report({"t:x/0": report.encode(STANDING)}))
    on_redis(Mark({"t:x/0": 8}, {}))
    on_redis(Enter("spout", 1, {}, ("t:x/0",), ("t:x/0",)))
    with connect(url) as client:
        assert {"t:x/0": 1} == progress(client, "app").starts
        assert pass_over(client, "app", "t/0/7")
        assert {} == progress(client, "app").starts
        assert not pass_over(client, "app", "t/0/7")
        found = progress(client, "app")
    assert ({"t:x/0": 8}, {"t:x/0": STANDING}, ["t/0/7"]) == (found.commits, found.standings, found.skips)
    assert {"t/0/7"} == on_redis(Skips()).records  # type: ignore[union-attr]


def test_an_input_without_end_has_none(ask: Ask) -> None:
    """
    Until the feed has said where it ends, there is no end.
    """
    assert Ended(None) == ask(Ends("t"))


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

    @rule(partitions=st.integers(1, 8), beyond=SELDOM, also=SELDOM)
    def enter(self, partitions: int, beyond: bool, also: bool) -> None:
        committed = {p: o + beyond for p, o in self.memory.commits.items()} | ({"t/2": 0} if also else {})
        self.compare(Enter("spout", partitions, committed))
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


@pytest.mark.timeout(120)
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


class Restarting:
    """A Redis that is restarted on its port, with its data or without, while the store's connection is idle."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = EmbeddedServers.start(directory, redis_only=True)
        self.url = self._servers.redis_url
        self.client = connect(self.url)
        begin_run(self.client, "app", GRAPH)
        self._store = RedisStore(self.url)
        self.ask = ask_redis(self._store)

    def restart(self) -> None:
        self._servers.stop()
        self._servers = EmbeddedServers.start(self._directory, redis_only=True, redis_port=int(urlsplit(self.url).port))

    def lose_data(self) -> None:
        self._servers.stop()
        shutil.rmtree(self._directory / "redis")
        self.restart()

    def close(self) -> None:
        self._store.close()
        self.client.close()
        self._servers.stop()


@pytest.fixture
def restarting(tmp_path: Path) -> Iterator[Restarting]:
    server = Restarting(tmp_path)
    yield server
    server.close()


@pytest.fixture(params=["redis", "memory"])
def store(request: pytest.FixtureRequest) -> Restarting | MemoryStore:
    if request.param == "redis":
        found: Restarting = request.getfixturevalue("restarting")
        return found
    memory = MemoryStore()
    memory.begin_run()
    return memory


def once_connected(ask: Ask, request: Request) -> Reply:
    """The answer; a connection that turns out to be closed costs one `Unknown`, not two."""
    reply = ask(request)
    return ask(request) if isinstance(reply, Unknown) else reply


def test_after_a_restart_a_slot_is_loaded_again_before_it_is_flushed(store: Restarting | MemoryStore) -> None:
    """
    A flush meant for the life before is not sent to the next one, also if the connection was idle meanwhile.
    """
    loaded(store.ask)
    store.ask(flush(1, window(k="1")))
    store.restart()

    assert isinstance(once_connected(store.ask, flush(2, window(k="2"))), Gone)
    assert isinstance(store.ask(flush(3, window(k="3"))), Gone)
    assert {"k": "1"} == loaded(store.ask, again=True).windows[0].results
    assert isinstance(store.ask(flush(4, window(k="4"))), Applied)
    assert {"k": "4"} == loaded(store.ask).windows[0].results


def test_lost_data_is_noticed(store: Restarting | MemoryStore) -> None:
    """
    Without the run marker nobody loads and nobody enters; a new run finds that Kafka knows more.
    """
    loaded(store.ask)
    assert isinstance(store.ask(Mark({"t/0": 5}, {})), Applied)
    store.lose_data()

    assert isinstance(once_connected(store.ask, flush(1)), Gone)
    for request in (Load("bolt", 3, "me", 1, True), Load("bolt", 3, "next", 1), Enter("spout", 1, {})):
        reply = store.ask(request)
        assert isinstance(reply, Refused)
        assert reply.halted
    if isinstance(store, MemoryStore):
        store.begin_run()
    else:
        begin_run(store.client, "app", GRAPH)
    reply = store.ask(Enter("spout", 1, {"t/0": 5}))
    assert isinstance(reply, Refused)
    assert reply.halted


def test_a_closed_connection_is_not_a_restart(on_redis: Ask, url: str) -> None:
    """
    Whoever closes an idle connection costs one answer; the slot is still the task's own.
    """
    loaded(on_redis)
    with connect(url) as other:
        other.client_kill_filter(_type="normal", skipme=True)

    assert isinstance(once_connected(on_redis, flush(1, window(k="1"))), Applied)


def test_scripts_that_were_flushed_are_loaded_again(on_redis: Ask, url: str) -> None:
    """
    A server that has forgotten the scripts costs one answer.
    """
    loaded(on_redis)
    with connect(url) as other:
        other.script_flush()

    assert isinstance(once_connected(on_redis, flush(1, window(k="1"))), Applied)


def test_a_request_that_is_written_twice_changes_nothing(ask: Ask) -> None:
    """
    Absolute values: the same content under the next sequence leaves results, late records and counts as they were.
    """
    loaded(ask)
    ask(flush(1, window(k="1"), late=2))
    before = loaded(ask)
    ask(flush(2, window(k="1"), late=2))

    assert msgspec.structs.replace(before, sequence=2) == loaded(ask)


def test_a_server_that_is_gone_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """
    Without an answer nothing is claimed; the thread lives on.
    """
    servers = EmbeddedServers.start(tmp_path, redis_only=True)
    store = RedisStore(servers.redis_url)
    ask = ask_redis(store)
    servers.stop()

    assert isinstance(ask(Counts()), Unknown)
    assert isinstance(ask(Counts()), Unknown)
    store.close()


def test_state_of_another_graph_is_refused_until_it_is_cleared(url: str) -> None:
    """
    Keys, windows or components that changed would misread what is stored; only this app's keys are cleared.
    """
    client = connect(url)
    for app in ("one", "one more"):
        clear(client, app)
        begin_run(client, app, GRAPH)

    with pytest.raises(StateError, match='key was "user", is "customer"'):
        begin_run(client, "one", OTHER)
    clear(client, "one")
    assert begin_run(client, "one", OTHER) == 1
    assert begin_run(client, "one more", GRAPH) == 2
    client.close()


def test_a_halt_stops_new_runs_until_it_is_cleared(url: str) -> None:
    """
    `resume` is an operator's word; before it nothing starts.
    """
    client = connect(url)
    clear(client, "app")
    begin_run(client, "app", GRAPH)
    client.set("{app}:halt", "Redis has lost data")

    with pytest.raises(StateError, match="Redis has lost data"):
        begin_run(client, "app", GRAPH)
    assert resume(client, "app")
    assert begin_run(client, "app", GRAPH) == 2
    client.close()
