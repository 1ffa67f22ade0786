"""One contract, two stores: the scripts in a real server, and the store of the testing kit."""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from stormline.connectors.redis import RedisStore, begin_run, clear, connect, resume
from stormline.core.errors import StateError
from stormline.core.requests import (
    Applied,
    Counted,
    Counts,
    Ended,
    Ends,
    Enter,
    Flush,
    Gone,
    Load,
    Loaded,
    LoadedWindow,
    Mark,
    Refused,
    Reply,
    Request,
    Unknown,
    WindowChange,
)
from stormline.embedded.servers import EmbeddedServers
from stormline.testing import MemoryStore

Ask = Callable[[Request], Reply]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServers.start(Path(tmp_path_factory.mktemp("redis")), redis_only=True) as servers:
        yield servers.redis_url


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
    begin_run(client, "app", "graph")
    store = RedisStore(url)
    yield ask_redis(store)
    store.close()
    client.close()


@pytest.fixture(params=["redis", "memory"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "redis":
        found: Ask = request.getfixturevalue("on_redis")
        return found
    return MemoryStore().ask


def flush(sequence: int, *windows: WindowChange, owner: str = "me", late: int = 0, floor: int = 0) -> Flush:
    records = {number: f'{{"number": {number}}}'.encode() for number in range(late)}
    return Flush(
        "bolt", 3, owner, sequence, {"t/0": floor}, {"lane": {"t/0": [7, 9]}}, 50, late, records, list(windows)
    )


def window(start: int = 0, *, final: bool = False, forgotten: bool = False, **results: str) -> WindowChange:
    fields = {key: text.encode() for key, text in results.items()}
    return WindowChange("w", start, start + 10, final, 0, fields, fields, forgotten)


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
    expected = LoadedWindow("w", 0, 10, False, 0, {"k": b"1"}, {"k": b"1"})
    assert Loaded(3, 1, {"t/0": 5}, {"lane": {"t/0": [7, 9]}}, 50, 2, [expected]) == loaded(ask, "next")


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
    assert {"k": b"2"} == loaded(ask).windows[0].results


def test_a_forgotten_window_is_not_loaded_again(ask: Ask) -> None:
    """
    What is closed and past its lateness stays as a result, and costs a new owner nothing.
    """
    loaded(ask)
    ask(flush(1, window(0, k="1"), window(10, k="1")))
    ask(flush(2, window(0, final=True, forgotten=True)))

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
    assert isinstance(ask(Enter("spout", 4, {})), Applied)
    assert Counted({"spout": 4}) == ask(Counts())
    assert isinstance(ask(Mark({"t/0": 5}, {})), Applied)
    assert isinstance(ask(Enter("spout", 2, {"t/0": 5})), Applied)
    assert Counted({"spout": 4}) == ask(Counts())

    for request in (Enter("spout", 4, {"t/0": 6}), Enter("spout", 4, {}), Load("bolt", 3, "me", 1)):
        reply = ask(request)
        assert isinstance(reply, Refused)
        assert reply.halted


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


def test_an_input_without_end_has_none(ask: Ask) -> None:
    """
    Until the feed has said where it ends, there is no end.
    """
    assert Ended(None) == ask(Ends("t"))


@pytest.mark.parametrize("seed", range(12))
def test_both_stores_answer_alike(on_redis: Ask, seed: int) -> None:
    """
    Random requests get the same answers from the scripts and from the store of the kit.
    """
    random, memory = Random(seed), MemoryStore().ask
    for step in range(60):
        owner, number = random.choice("ab"), random.randint(1, 8)
        start = random.choice([0, 10])
        request: Request = random.choice(
            [
                Load("bolt", 3, owner, random.randint(1, 2), random.random() < 0.2),
                flush(number, window(start, final=random.random() < 0.5, k=str(step)), owner=owner, late=number % 3),
                flush(number, window(start, final=True, forgotten=True), owner=owner),
                Counts(),
                Enter("s", number, {}),
            ]
        )
        expected, actual = memory(request), on_redis(request)
        if isinstance(expected, Refused) and isinstance(actual, Refused):
            assert (expected.halted, expected.outdated) == (actual.halted, actual.outdated)
        elif isinstance(expected, Loaded) and isinstance(actual, Loaded):
            expected.windows.sort(key=lambda w: w.start_ms)
            actual.windows.sort(key=lambda w: w.start_ms)
            assert expected == actual, f"seed {seed}, step {step}"
        else:
            assert expected == actual, f"seed {seed}, step {step}"


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
        begin_run(client, app, "graph")

    with pytest.raises(StateError, match="made by another topology"):
        begin_run(client, "one", "other graph")
    clear(client, "one")
    assert begin_run(client, "one", "other graph") == 1
    assert begin_run(client, "one more", "graph") == 2
    client.close()


def test_a_halt_stops_new_runs_until_it_is_cleared(url: str) -> None:
    """
    `resume` is an operator's word; before it nothing starts.
    """
    client = connect(url)
    clear(client, "app")
    begin_run(client, "app", "graph")
    client.set("{app}:halt", "Redis has lost data")

    with pytest.raises(StateError, match="Redis has lost data"):
        begin_run(client, "app", "graph")
    assert resume(client, "app")
    assert begin_run(client, "app", "graph") == 2
    client.close()
