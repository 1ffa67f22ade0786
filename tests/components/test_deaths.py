"""Records that kill the process: found over its deaths, named in the store, passed over when an operator says so."""

from __future__ import annotations

from typing import Any

import pytest

from stormline import FilterBolt, KafkaSpout, Record, Topology
from stormline.core import report
from stormline.core.requests import Mark, Try
from stormline.testing import Driver

KILLER = 77
BROKEN = 5_555


class Killed(BaseException):
    """What a segmentation fault is to a process: no user code and no component catches it."""


class Line(Record):
    n: int


def driver(*, in_decode: bool = False, partitions: int = 1) -> Any:
    """A bolt, or the spout's own decoder, that dies of one record; what the bolt has seen is kept over the deaths."""
    seen: list[int] = []

    def keep(self: Any, line: Line) -> bool:
        if line.n == KILLER:
            raise Killed
        if line.n == BROKEN:
            raise ValueError(line.n)
        seen.append(line.n)
        return True

    def decode(self: Any, raw: bytes) -> Line:
        if raw == b'{"n":%d}' % KILLER:
            raise Killed
        return Line(int(raw[5:-1]))

    members: dict[str, Any] = {"topic": "t", "schema": Line} | ({"decode": decode} if in_decode else {})
    spout: Any = type("Spout", (KafkaSpout,), members)
    bolt: Any = type("Bolt", (FilterBolt,), {"keep": keep})
    parts: dict[str, Any] = {"spout": spout.spec()}
    parts["bolt"] = bolt.spec(inputs=[parts["spout"]])
    tried: Any = Driver(type(Topology)("Tried", (Topology,), parts), bounded=False, partitions=partitions)
    tried.seen = seen
    return tried


def live_on(tried: Any, deaths: int) -> int:
    """Start it again after each death, for at most so many; how many there were."""
    for death in range(deaths):
        try:
            tried.crash()
            tried.advance("30s")
        except Killed:
            continue
        return death
    return deaths


def test_what_kills_the_process_is_found_alone_named_and_passed_over() -> None:
    """
    After a handful of deaths all before it is done, and the store knows which record was out alone at each. Passed
    over, it is a dead letter with its offset, and everything behind it is read.
    """
    tried = driver()
    for n in range(300):
        tried.send({"n": n}, run=False)
    assert 12 == live_on(tried, 12)
    assert set(range(KILLER)) == set(tried.seen)
    assert {f"t/0/{KILLER}"} == tried.store.blamed.keys()
    assert tried.store.blamed[f"t/0/{KILLER}"] >= 3

    tried.store.skips.add(f"t/0/{KILLER}")
    assert 0 == live_on(tried, 1)
    assert set(range(300)) - {KILLER} == set(tried.seen)
    assert {"t/0": 300} == tried.committed
    (letter,) = tried.dead_letters("t")
    assert (f"t/0/{KILLER}", b'{"n":77}') == (letter.origin, letter.value)
    assert "sparse dlq skip" in letter.reason


def test_what_kills_the_decoder_is_passed_over_before_it_is_decoded() -> None:
    """
    It was never emitted, so no failure could tell of it; the record is left as it came.
    """
    tried = driver(in_decode=True)
    for n in range(70, 90):
        tried.send({"n": n}, run=False)
    assert 4 == live_on(tried, 4)
    tried.store.skips.add("t/0/7")
    assert 0 == live_on(tried, 1)
    assert (set(range(70, 90)) - {KILLER}, {"t/0": 20}) == (set(tried.seen), tried.committed)
    assert [("t/0/7", b'{"n":77}')] == [(each.origin, each.value) for each in tried.dead_letters("t")]


def test_starts_without_news_are_no_deaths() -> None:
    """
    A spout that is started again and again with nothing to read goes its usual way when something comes.
    """
    tried = driver()
    tried.send({"n": 1})
    tried.advance("3s")
    for _ in range(9):
        tried.crash()
        tried.advance("3s")
    assert {} == tried.store.starts

    for n in range(2, 10):
        tried.send({"n": n}, run=False)
    tried.crash()
    assert list(range(1, 10)) == tried.seen


def test_a_start_that_gets_on_is_the_last_one_counted() -> None:
    """
    Three deaths of another cause, and then all is well: the next start is the first one again.
    """
    tried = driver()
    for n in range(10):
        tried.send({"n": n}, run=False)
    tried.store.down = True
    tried.store.starts["t/0"] = 2
    tried.crash()
    tried.store.down = False
    tried.advance("30s")
    assert {"t/0": 10} == tried.committed
    for n in range(2_000):
        tried.send({"n": 100 + n}, run=False)
    tried.advance("30s")
    assert {} == tried.store.starts


def test_what_holds_a_partition_is_told_with_its_failures() -> None:
    """
    First and last offset of the batch, how many records, how often it failed; nothing once it got through.
    """
    tried = driver()
    tried.send({"n": 1})
    tried.advance("2s")
    told = report.decode(tried.store.standings["t/0"])
    assert (1, 1, 1, None) == (told.frontier, told.position, told.log_end, told.held_by)

    tried.log.max_bytes = 1  # not even its dead letter can be written
    for n in (BROKEN, 3):
        tried.send({"n": n})
    tried.advance("2m")
    told = report.decode(tried.store.standings["t/0"])
    assert (1, 3, (1, 1), 1) == (told.frontier, told.position, told.held_by, told.records)
    assert told.failures >= 2

    tried.log.max_bytes = 1_000
    tried.advance("2m")
    told = report.decode(tried.store.standings["t/0"])
    assert (3, None, 0) == (told.frontier, told.held_by, told.failures)


def careful(tried: Any) -> None:
    """Ten records and a broken one in their midst, one by one: so often was the partition begun before."""
    for n in (*range(5), BROKEN, *range(6, 10)):
        tried.send({"n": n}, run=False)
    tried.store.starts |= dict.fromkeys(("t/0", "t/1")[: len(tried.log.topics["t"])], 7)
    tried.log.max_bytes = 1  # the broken one's dead letter is not written: it stays
    tried.crash()
    tried.advance("30s")


def test_what_is_committed_while_care_is_taken_is_no_news() -> None:
    """
    The next start takes as much care: what kills the process may be right behind it.
    """
    tried = driver()
    careful(tried)
    assert ({"t/0": 5}, {"t/0": 8}) == (tried.committed, tried.store.starts)
    assert ("t/0", 5, 1) == (tried.store.trying.partition, tried.store.trying.offset, tried.store.trying.records)


def test_nothing_is_named_any_more_once_all_is_well() -> None:
    """
    A name that stayed would be blamed for the next death, and no record of another task could go out alone.
    """
    tried = driver()
    careful(tried)
    tried.log.max_bytes = 1_000
    tried.advance("60s")
    assert ({"t/0": 10}, None) == (tried.committed, tried.store.trying)


def test_what_is_out_alone_is_not_blamed_for_what_another_partition_does() -> None:
    """
    That one was begun less often and still goes in batches of five; they wait until nothing is out.
    """
    tried = driver(partitions=2)
    tried.send({"n": BROKEN}, run=False)
    for n in range(KILLER - 7, KILLER + 3):
        tried.send({"n": n}, partition=1, run=False, time_ms=1)
    tried.store.starts |= {"t/0": 8, "t/1": 4}
    tried.log.max_bytes = 1  # the first one's dead letter is not written: it stays out
    tried.crash()
    tried.advance("30s")
    assert ([], "t/0") == (tried.seen, tried.store.trying.partition)

    tried.log.max_bytes = 1_000
    with pytest.raises(Killed):
        tried.advance("60s")
    assert 5 == live_on(tried, 5)
    assert (set(range(KILLER - 7, KILLER)), {"t/1/7"}) == (set(tried.seen), tried.store.blamed.keys())


def test_what_goes_carefully_does_not_wait_until_the_others_have_nothing_more() -> None:
    """
    Its turn comes with each batch of the others.
    """
    tried = driver(partitions=2)
    for n in range(256):
        tried.send({"n": 1_000 + n}, run=False)
    for n in range(5_000):
        tried.send({"n": 10_000 + n}, partition=1, run=False)
    tried.store.starts["t/0"] = 2
    tried.crash()
    assert 5_256 == len(tried.seen)
    assert tried.seen.index(1_255) < 2_000


def test_once_an_operator_has_named_the_cause_the_rest_goes_its_usual_way() -> None:
    """
    Of all partitions of the app, though only one of them held the record.
    """
    tried = driver(partitions=2)
    for n in range(300):
        tried.send({"n": 1_000 + n}, partition=1, run=False, time_ms=1)
    careful(tried)
    named, ask = [], tried.store.ask
    tried.store.ask = lambda request: named.append(request) or ask(request)
    tried.store.skips.add("t/0/5")
    tried.advance("90s")
    tried.log.max_bytes = 1_000
    tried.advance("60s")
    assert {"t/0": 10, "t/1": 300} == tried.committed
    assert [] == [each for each in named if isinstance(each, Try) and each.partition == "t/1"]


def test_an_orderly_end_blames_nobody() -> None:
    """
    Deactivated, a spout keeps only what is out, and names nothing further; closed, nothing.
    """
    tried = driver()
    careful(tried)
    tried._engine.deactivate()
    tried.advance("1s")
    assert tried.store.trying is not None
    tried._engine.close()
    assert tried.store.trying is None

    tried.log.max_bytes = 1_000
    tried.refuse_next_write()
    tried.crash()
    tried.run()
    assert tried.store.trying is not None
    tried._engine.deactivate()
    tried.advance("60s")
    assert ({"t/0": 6}, None) == (tried.committed, tried.store.trying)


def test_what_was_acked_while_the_app_was_halted_is_not_to_blame_for_the_halt() -> None:
    """
    Its task begins anew when an operator has cleared the halt, but nothing has died.
    """
    tried = driver()
    careful(tried)
    tried.store.halted = "by hand"
    tried.advance("40s")
    assert "by hand" in tried.status()["spout"][0].trouble
    tried.log.max_bytes = 1_000
    tried.advance("60s")
    assert tried.store.trying is None  # before its process ends
    tried.store.halted = None
    tried.advance("60s")
    assert ({"t/0": 10}, {}) == (tried.committed, tried.store.blamed)


def test_who_is_deactivated_before_its_record_goes_names_it_no_longer() -> None:
    """
    It was never out. Activated again, it goes.
    """
    tried = driver()
    tried.send({"n": 1}, run=False)
    tried.store.starts["t/0"] = 7
    named, ask = [], tried.store.ask

    def granted(request: Any) -> Any:
        if isinstance(request, Try) and request.partition:
            named.append(request.partition)
            tried._engine.deactivate()
        return ask(request)

    tried.store.ask = granted
    tried.crash()
    tried.advance("1s")
    assert (["t/0"], [], None) == (named, tried.seen, tried.store.trying)
    tried.store.ask = ask
    tried._engine.activate()
    tried.advance("1s")
    assert [1] == tried.seen


def test_records_wait_while_another_task_s_are_out_carefully() -> None:
    """
    And go when these are done.
    """
    tried = driver()
    tried.send({"n": 1}, run=False)
    tried.store.starts["t/0"] = 7
    tried.store.trying = Try("another", "other/0", 3)
    tried.crash()
    tried.advance("5s")
    assert [] == tried.seen
    tried.store.trying = None
    tried.advance("1s")
    assert [1] == tried.seen


def test_marks_that_are_lost_behind_the_start_are_noticed_by_the_first_one() -> None:
    """
    What Kafka had committed was known to Redis when the task entered.
    """
    tried = driver()
    tried.send({"n": 1})
    tried.advance("2s")
    tried.crash()
    tried.store.commits.clear()
    tried.send({"n": 2})
    tried.advance("2s")
    assert "Redis has lost data" in tried.store.halted


def test_the_store_is_asked_no_more_once_a_failure_is_over() -> None:
    """
    Only news and failures are worth a question.
    """
    tried = driver()
    tried.log.max_bytes = 1
    tried.send({"n": BROKEN})
    tried.advance("2m")
    tried.log.max_bytes = 1_000
    tried.advance("2m")
    assert {"t/0": 1} == tried.committed
    asked, ask = [], tried.store.ask
    tried.store.ask = lambda request: asked.append(request) or ask(request)
    tried.advance("1m")
    assert [] == [each for each in asked if isinstance(each, Mark)]
