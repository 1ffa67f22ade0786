"""What closes windows, and what does not: partitions that are silent, empty, new; times that are wrong or missing."""

from typing import Any

from stormline import Count, KafkaSpout, Record, Topology, WindowBolt, tumbling
from stormline.testing import Driver


class Sale(Record):
    at: int
    user: str = "ann"


class Patient(KafkaSpout):
    topic = "sales"
    schema = Sale
    event_time = "at"


class Guessing(Patient):
    idle_after = "10s"


class Other(Patient):
    topic = "others"


class ByArrival(KafkaSpout):
    topic = "sales"
    schema = Sale


class PerUser(WindowBolt):
    key = "user"
    window = tumbling("10ms")
    aggregate = {"n": Count()}


def topology(*spouts: type) -> type:
    members: dict[str, Any] = {f"spout{number}": spout.spec() for number, spout in enumerate(spouts)}
    members["users"] = PerUser.spec(inputs=list(members.values()))
    return type(Topology)("Sales", (Topology,), members)


def driver(*spouts: type, partitions: int = 2, bounded: bool = False) -> Driver:
    return Driver(topology(*spouts), partitions=partitions, bounded=bounded)


def states(tried: Driver) -> dict[int, str]:
    return {row.start_ms: row.state for row in tried.results()}


def test_a_silent_partition_holds_windows_open() -> None:
    """
    Unless somebody has said how long, nobody guesses that nothing more comes from it.
    """
    tried = driver(Patient)
    tried.send(Sale(5), topic="sales", partition=0)
    tried.send(Sale(500), topic="sales", partition=0)
    tried.advance("10m")
    assert {0: "open", 500: "open"} == states(tried)
    tried.send(Sale(400), topic="sales", partition=1)
    tried.advance("1s")
    assert {0: "final", 400: "open", 500: "open"} == states(tried)


def test_an_idle_partition_no_longer_does() -> None:
    """
    After `idle_after` without news it is left out; what comes from it then may be late, and is kept.
    """
    tried = driver(Guessing)
    tried.send(Sale(5), topic="sales", partition=0)
    tried.send(Sale(500), topic="sales", partition=0)
    tried.advance("5s")
    assert "final" not in states(tried).values()
    tried.send(Sale(501), topic="sales", partition=0)
    tried.advance("7s")
    assert {0: "final", 500: "open"} == states(tried)
    tried.send(Sale(6), topic="sales", partition=1)
    tried.advance("1s")
    assert [6] == [late.time_ms for late in tried.late()]


def test_when_all_are_idle_all_is_closed() -> None:
    """
    The end of what is open, a number: the next record is not late for it.
    """
    tried = driver(Guessing)
    tried.send(Sale(5), topic="sales", partition=0)
    tried.advance("30s")
    assert {0: "final"} == states(tried)
    tried.send(Sale(12), topic="sales", partition=1)
    tried.advance("1s")
    assert {0: "final", 10: "open"} == states(tried)


def test_an_empty_topic_closes_nothing() -> None:
    """
    It has no time: what another topic brings stays open.
    """
    tried = driver(Patient, Other, partitions=1)
    for at in (5, 500):
        tried.send(Sale(at), topic="sales")
    tried.advance("10m")
    assert "final" not in states(tried).values()
    tried.send(Sale(450), topic="others")
    tried.advance("1s")
    assert "final" == states(tried)[0]


def test_an_empty_bounded_input_ends() -> None:
    """
    Nothing in it, nothing to close.
    """
    tried = driver(Patient, Other, bounded=True)
    tried.send(Sale(5), topic="sales")
    tried.end()
    assert {0: "final"} == states(tried)


def test_a_record_from_the_year_9999_closes_nothing() -> None:
    """
    It is broken: one wrong clock must not close the windows of all others.
    """
    tried = driver(Patient, partitions=1)
    tried.send(Sale(5), topic="sales")
    tried.send(Sale(253_402_300_799_000), topic="sales")
    tried.advance("1s")
    assert {0: "open"} == states(tried)
    (letter,) = tried.dead_letters()
    assert "in the future" in letter.reason


def test_a_record_without_its_time_is_broken() -> None:
    """
    Where a field is the time, and where the Kafka timestamp is.
    """
    tried = driver(Patient, partitions=1)
    tried.send({"user": "ann"}, topic="sales")
    tried.advance("1s")
    assert ({}, 1) == (states(tried), len(tried.dead_letters()))
    arrived = driver(ByArrival, partitions=1)
    arrived.send(Sale(0), topic="sales", time_ms=7)
    arrived.advance("1s")
    assert {0: "open"} == states(arrived)
