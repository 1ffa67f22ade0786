"""Who may write: the owner of a slot, in the newest run of the same graph, and nobody once data is lost."""

import pytest
from store_parts import GRAPH, Ask, ask_redis, flush, loaded, window

from stormline.connectors.redis import RedisStore, begin_run, clear, connect, resume
from stormline.connectors.versions import Version
from stormline.core.errors import StateError
from stormline.core.requests import Applied, Counted, Counts, Enter, Entered, Gone, Load, Mark, Refused
from stormline.testing import MemoryStore

OTHER = Version("other", {"bolt": {"key": "customer"}})


def test_only_the_owner_writes(ask: Ask) -> None:
    """
    A flush of an earlier owner is refused and changes nothing.
    """
    loaded(ask, "old")
    loaded(ask, "new")

    assert isinstance(ask(flush(1, window(k="1"), owner="old")), Refused)
    assert [] == loaded(ask, "new").windows


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


def test_what_kafka_has_forgotten_redis_knows(ask: Ask) -> None:
    """
    The offset of each of the task's partitions of which Kafka has none, if there ever was one.
    """
    assert {} == ask(Enter("spout", 3, {}, ("t/0", "t/1", "t/2"))).known  # type: ignore[union-attr]
    ask(Mark({"t/0": 5, "t/1": 0, "t/3": 9}, {}))
    assert {"t/1": 0} == ask(Enter("spout", 3, {"t/0": 4}, ("t/0", "t/1", "t/2"))).known  # type: ignore[union-attr]


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


def test_with_how_many_partitions_an_app_began_a_topic_is_kept(ask: Ask) -> None:
    """
    Whoever enters first says it, and everybody hears it: those that come later are younger.
    """
    first = ask(Enter("spout", 2, {}, ("t/0",), ("t/0",), counts={"t": 2, "u": 0}))
    assert Entered({"t/0": 1}, frozenset(), {"t": 2, "u": 0}) == first
    later = ask(Enter("spout", 4, {}, ("t/1", "t/2"), counts={"u": 4, "t": 3, "v": 1}))
    assert Entered({}, frozenset(), {"t": 2, "u": 0, "v": 1}) == later


def test_a_topic_that_a_pattern_finds_is_younger_than_a_spout_that_has_begun(ask: Ask) -> None:
    """
    Whoever says it: a task that has just begun finds it among the others, too. A first task tells how many there are.
    """
    first = ask(Enter("spout", 2, {}, counts={"t": 2}, by_pattern=True))
    assert Entered({}, frozenset(), {"t": 2}) == first
    later = ask(Enter("spout", 5, {}, counts={"t": 2, "u": 3}, by_pattern=True))
    assert Entered({}, frozenset(), {"t": 2, "u": 0}) == later
    other = ask(Enter("another spout", 3, {}, counts={"u": 3, "v": 1}, by_pattern=True))
    assert Entered({}, frozenset(), {"u": 0, "v": 1}) == other


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
