"""Several topics, a pattern, and partitions that come while the spout runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stormline import Count, FilterBolt, KafkaSpout, Record, SettingsError, Topology, WindowBolt, tumbling
from stormline.testing import Driver


class Line(Record):
    n: int


def topology(topic: Any, *, start: Any = "earliest", par: int = 1, seen: list[int]) -> Any:
    """A spout on these topics, and a bolt that tells what it has seen."""

    def keep(self: Any, line: Line) -> bool:
        seen.append(line.n)
        return True

    spout: Any = type("Spout", (KafkaSpout,), {"topic": topic, "schema": Line, "start": start})
    bolt: Any = type("Bolt", (FilterBolt,), {"keep": keep})
    members: dict[str, Any] = {"spout": spout.spec(par=par)}
    members["bolt"] = bolt.spec(inputs=[members["spout"]])
    return type(Topology)("Tried", (Topology,), members)


def driver(topic: Any, *, start: Any = "earliest", par: int = 1, **options: Any) -> Any:
    seen: list[int] = []
    tried: Any = Driver(topology(topic, start=start, par=par, seen=seen), **options)
    tried.seen = seen
    return tried


@pytest.mark.parametrize("par", [1, 2, 5])
def test_several_topics_are_read_whatever_the_number_of_tasks(par: int) -> None:
    """
    Each record of each partition of each topic comes once, and each partition is committed by itself.
    """
    tried = driver(["orders", "returns"], par=par, partitions=2)
    for n in range(8):
        tried.send({"n": n}, topic=("orders", "returns")[n % 2], partition=n // 2 % 2)
    tried.end()

    assert list(range(8)) == sorted(tried.seen)
    assert {"orders/0": 2, "orders/1": 2, "returns/0": 2, "returns/1": 2} == tried.committed


def test_a_pattern_finds_topics_that_come_later() -> None:
    """
    A topic made while the spout runs is read from its first record; what does not match as a whole, a dead-letter topic
    and Kafka's own are not.
    """
    tried = driver(re.compile("orders-.*|__.*"), topics=["orders-eu"], bounded=False)
    tried.send({"n": 1}, topic="orders-eu")
    for other in ("my-orders-eu", "orders-eu.dead", "__consumer_offsets"):
        tried.create_topic(other, 1)
        tried.send({"n": 99}, topic=other)
    tried.create_topic("orders-us", 2)
    tried.send({"n": 2}, topic="orders-us", partition=1)
    tried.advance("3s")

    assert [1, 2] == tried.seen
    assert {"orders-eu/0": 1, "orders-us/0": 0, "orders-us/1": 1} == tried.committed | {"orders-us/0": 0}


@pytest.mark.parametrize("start", ["earliest", "latest", "committed"])
def test_a_partition_that_is_added_is_read_from_its_first_record(start: str) -> None:
    """
    Whatever `start` says: it is about what was there before. So too if the spout was away when the partition came, and
    if it dies before it has read anything of it.
    """
    tried = driver("t", bounded=False)
    tried.send({"n": 1})
    tried.advance("3s")
    tried.log.create("t", 2)
    tried.log.append("t", 1, key=None, value=b'{"n":2}')
    tried.submit(topology("t", start=start, seen=tried.seen))
    tried.advance("3s")
    assert ([1, 2], {"t/0": 1, "t/1": 1}) == (tried.seen, tried.committed)

    tried.create_topic("t", 3)
    tried.send({"n": 3}, partition=2)
    tried.crash()
    tried.advance("3s")
    assert ([1, 2, 3], 1) == ([*dict.fromkeys(tried.seen)], tried.committed["t/2"])


@pytest.mark.parametrize("start", ["earliest", "latest", "committed"])
def test_a_topic_that_a_pattern_finds_is_read_from_its_first_record(start: str) -> None:
    """
    Whatever `start` says, and also if the spout was away when the topic came: no record of it was there before.
    """
    pattern = re.compile("orders-.*")
    tried = driver(pattern, topics=["orders-eu"], bounded=False)
    tried.send({"n": 1}, topic="orders-eu")
    tried.advance("3s")
    tried.log.create("orders-us", 1)
    tried.log.append("orders-us", 0, key=None, value=b'{"n":2}')
    tried.submit(topology(pattern, start=start, seen=tried.seen))
    tried.advance("3s")
    assert ([1, 2], {"orders-eu/0": 1, "orders-us/0": 1}) == (tried.seen, tried.committed)

    tried.create_topic("orders-jp", 1)
    tried.send({"n": 3}, topic="orders-jp")
    tried.advance("3s")
    assert ([1, 2, 3], 1) == (tried.seen, tried.committed["orders-jp/0"])


@pytest.mark.parametrize(("start", "expected"), [("earliest", [1, 2]), ("latest", [1])])
def test_a_topic_that_is_named_later_is_read_from_where_start_says(start: str, expected: list[int]) -> None:
    """
    That it was there before is as likely: it is the program that is new.
    """
    tried = driver("orders", bounded=False)
    tried.send({"n": 1})
    tried.advance("3s")
    tried.log.create("returns", 1)
    tried.log.append("returns", 0, key=None, value=b'{"n":2}')
    tried.submit(topology(["orders", "returns"], start=start, seen=tried.seen))
    tried.advance("3s")
    assert (expected, {"orders/0": 1, "returns/0": 1}) == (tried.seen, tried.committed)


class Hourly(WindowBolt):
    key = "n"
    window = tumbling("1h")
    aggregate = {"lines": Count()}


def test_no_window_closes_before_a_new_partition_was_heard() -> None:
    """
    All tasks tell the new number of partitions, also those without a new one: the bolt waits for the claim of it.
    """

    class Lines(KafkaSpout):
        topic = "t"
        schema = Line

    class Counting(Topology):
        lines = Lines.spec(par=2)
        hourly = Hourly.spec(inputs=[lines])

    tried = Driver(Counting, partitions=1, bounded=False)
    tried.send({"n": 1}, time_ms=0)
    tried.advance("1s")
    tried.create_topic("t", 2)
    tried.advance("1s")
    tried.send({"n": 1}, time_ms=4_000_000)
    tried.advance("2s")
    assert ["open", "open"] == [row.state for row in tried.results()]

    tried.send({"n": 1}, partition=1, time_ms=4_000_000)
    tried.advance("2s")
    assert ["final", "open"] == [row.state for row in tried.results()]


def test_a_bounded_run_ends_though_a_partition_was_added_to_its_topic() -> None:
    """
    After the ends were told: what is not in the feed ends where it begins.
    """
    tried = driver("t", partitions=1)
    tried.send({"n": 1})
    tried.store.ends["t"] = {0: 1}
    tried.advance("3s")
    tried.create_topic("t", 2)
    tried.advance("3s")
    assert tried.settled


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ("orders", "orders"),
        (["returns", "orders", "gifts"], "orders, returns"),
        (re.compile("ord.*"), "orders"),
        ("gifts", None),
        (re.compile("gifts-.*"), None),
    ],
)
def test_two_spouts_that_read_one_topic_are_refused(other: Any, shared: str | None) -> None:
    """
    They share what is committed: one would pass over what it had not counted, because the other had.
    """
    spouts = {
        name: type(name, (KafkaSpout,), {"topic": topic, "schema": Line})
        for name, topic in (("First", ["orders", "returns"]), ("Second", other))
    }
    made: Any = type(Topology)("Tried", (Topology,), {name: cls.spec() for name, cls in spouts.items()})
    if shared is None:
        Driver(made)
        return
    with pytest.raises(SettingsError, match=f"Tried: First and Second both read {shared}. They share the offsets"):
        Driver(made)


def test_two_spouts_with_the_same_pattern_are_refused() -> None:
    """
    Whatever it will find.
    """
    spout: Any = type("Spout", (KafkaSpout,), {"topic": re.compile("orders-.*"), "schema": Line})
    made: Any = type(Topology)("Tried", (Topology,), {"one": spout.spec(), "two": spout.spec()})
    with pytest.raises(SettingsError, match=r"one and two both read orders-\.\*"):
        Driver(made)


@pytest.mark.parametrize("wrong", [[], [""], ["a", "a"], 7, ["a", 1]])
def test_what_is_no_topic_is_refused_where_it_stands(wrong: Any) -> None:
    """
    Nothing, an empty name, one name twice, and what is no text.
    """
    with pytest.raises(SettingsError, match=r"topic = .*test_topics.py|test_topics.py.*topic = "):
        type("Spout", (KafkaSpout,), {"topic": wrong, "schema": Line})


def test_offsets_to_start_at_are_given_by_topic_and_partition() -> None:
    """
    With several topics a number alone would mean a partition of each.
    """
    tried = driver(["a", "b"], bounded=False)
    for topic in ("a", "b", "b"):
        tried.send({"n": tried.log.end(topic, 0)}, topic=topic)
    seen: list[int] = []
    tried.log.committed.clear()
    tried.store.commits.clear()
    tried.submit(topology(["a", "b"], start={"b/0": 1}, seen=seen))
    assert [0, 1] == sorted(seen)
