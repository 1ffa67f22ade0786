"""Where a spout starts, and what it does when the place is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stormline import FilterBolt, KafkaSpout, Record, SettingsError, StateError, Topology
from stormline.core.requests import Mark, Unknown
from stormline.testing import Driver


class Line(Record):
    n: int


def driver(start: Any, records: int = 0, partitions: int = 1, *, unmarked: bool = False) -> Any:
    """A spout on a topic that has held so many records in each partition before the app is first run.
    `unmarked`: Redis does not answer when offsets are to be marked, until `store.ask` is deleted."""
    seen: list[int] = []

    def keep(self: Any, line: Line) -> bool:
        seen.append(line.n)
        return True

    spout: Any = type("Spout", (KafkaSpout,), {"topic": "t", "schema": Line, "start": start})
    bolt: Any = type("Bolt", (FilterBolt,), {"keep": keep})
    members: dict[str, Any] = {"spout": spout.spec()}
    members["bolt"] = bolt.spec(inputs=[members["spout"]])
    made: Any = type(Topology)("Tried", (Topology,), members)
    tried: Any = Later(made, partitions, records, unmarked)
    tried.seen = seen
    return tried


class Later(Driver):
    """A driver whose topic has records before the topology starts."""

    def __init__(self, topology: type, partitions: int, records: int, unmarked: bool) -> None:
        self._records, self._unmarked = records, unmarked
        super().__init__(topology, partitions=partitions)

    def _start(self) -> None:
        for partition, log in enumerate(self.log.topics["t"]):
            if not log:
                for n in range(self._records):
                    value = b'{"n":%d}' % (100 * partition + n)
                    self.log.append("t", partition, key=None, value=value, timestamp_ms=1_000 * n)
        if self._unmarked:
            ask = self.store.ask
            self.store.ask = lambda each: Unknown("away") if isinstance(each, Mark) else ask(each)  # type: ignore[method-assign]
        super()._start()


AT_2_S = datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]),
        ("latest", []),
        (AT_2_S, [2, 3, 4, 102, 103, 104]),
        (AT_2_S.replace(tzinfo=None), [2, 3, 4, 102, 103, 104]),
        (AT_2_S - timedelta(milliseconds=1), [2, 3, 4, 102, 103, 104]),
        ("1970-01-01T01:00:03+01:00", [3, 4, 103, 104]),
        ("2020-01-01", []),
        ({0: 4}, [4, 100, 101, 102, 103, 104]),
        ({0: 5, 1: 3}, [103, 104]),
    ],
)
def test_a_first_run_starts_where_it_is_told(start: Any, expected: list[int]) -> None:
    """At the beginning, the end, the first record of a time, or an offset; what comes later is read in any case."""
    tried = driver(start, records=5, partitions=2)
    tried.advance("1s")
    assert sorted(tried.seen) == expected
    tried.send(Line(7), partition=1, time_ms=9_000)
    tried.advance("2s")
    assert sorted(tried.seen) == sorted([*expected, 7])
    assert tried.committed == {"t/0": 5, "t/1": 6}


@pytest.mark.parametrize("start", ["latest", "earliest", {0: 1}, AT_2_S, "committed"])
def test_the_committed_offset_wins(start: Any) -> None:
    """Once something is committed `start` is not asked any more."""
    tried = driver("earliest", records=3)
    tried.advance("2s")
    assert tried.seen == [0, 1, 2]
    for n in range(3, 6):
        tried.log.append("t", 0, key=None, value=b'{"n":%d}' % n, timestamp_ms=0)
    tried._topology.spout.component_cls.start = start
    tried.crash()
    tried.advance("2s")
    assert tried.seen[-3:] == [3, 4, 5]


@pytest.mark.parametrize(("start", "old"), [("latest", []), (AT_2_S, [2]), ({0: 3}, [])])
def test_nothing_is_read_before_the_start_is_committed(start: Any, old: list[int]) -> None:
    """Else a crash would find another place, and lose what came in between."""
    tried = driver(start, records=3, unmarked=True)
    for n in range(3, 6):
        tried.send(Line(n), time_ms=10_000)
    tried.advance("3s")
    assert (tried.seen, tried.committed) == ([], {})
    del tried.store.ask
    tried.advance("3s")
    assert tried.seen == [*old, 3, 4, 5]
    assert tried.committed == {"t/0": 6}


def test_latest_is_the_end_also_for_a_task_that_begins_later() -> None:
    """That another task has committed its place already makes this one's partition no younger: it was there."""
    tried = driver("latest", records=5, partitions=2)
    tried.advance("2s")
    assert tried.committed == {"t/0": 5, "t/1": 5}
    for known in (tried.log.committed, tried.store.commits):
        del known["t/1"]  # its task dies before it has got so far
    tried.crash()
    tried.advance("2s")
    assert (tried.seen, tried.committed) == ([], {"t/0": 5, "t/1": 5})


@pytest.mark.parametrize("start", ["latest", "earliest", {0: 1}, AT_2_S, "committed"])
def test_what_kafka_has_forgotten_is_known_to_redis(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A partition without records loses its committed offset after days; what comes then is read, once."""
    tried = driver("earliest", records=3, partitions=2)
    tried.advance("2s")
    for n in range(3, 6):
        tried.log.append("t", 0, key=None, value=b'{"n":%d}' % n, timestamp_ms=0)
    del tried.log.committed["t/0"]
    tried._topology.spout.component_cls.start = start
    tried.crash()
    tried.advance("2s")
    assert tried.seen[6:] == [3, 4, 5]
    assert tried.committed == {"t/0": 6, "t/1": 3}
    assert "Kafka has no committed offset, or has forgotten it" in caplog.text
    assert "going on from there: t/0 at 3\n" in caplog.text


def test_it_is_committed_again_though_nothing_has_come() -> None:
    """Else tools that ask Kafka alone would see nothing."""
    tried = driver("latest", records=3)
    tried.advance("2s")
    tried.log.committed.clear()
    tried.crash()
    tried.advance("2s")
    assert (tried.seen, tried.committed) == ([], {"t/0": 3})


def test_what_redis_knows_has_to_be_in_the_log_too() -> None:
    """Forgotten by Kafka, and then deleted by retention: no silent jump either."""
    tried = driver("latest", records=3)
    tried.advance("2s")
    for n in range(3, 9):
        tried.log.append("t", 0, key=None, value=b'{"n":%d}' % n, timestamp_ms=0)
    tried.log.committed.clear()
    tried.log.delete_before("t", 0, 7)
    with pytest.raises(StateError, match="the 4 offsets from 3 to 6 were deleted before they were read"):
        tried.crash()


def test_committed_stops_where_nothing_is_committed() -> None:
    """A wrong name would read everything again: it is told for each partition."""
    with pytest.raises(StateError) as caught:
        driver("committed", records=1, partitions=2)
    assert "spout: of t/0 nothing is committed" in str(caught.value)
    assert "spout: of t/1 nothing is committed" in str(caught.value)


def test_an_offset_that_is_not_in_the_log_is_refused() -> None:
    """With what the topic holds."""
    with pytest.raises(StateError, match="spout: t/0 is to start at offset 7, but the topic holds 0 to 3"):
        driver({0: 7}, records=3)


def test_a_committed_offset_that_retention_has_passed_stops_with_the_range() -> None:
    """No silent jump: which offsets are gone, how many, and what to do."""
    tried = driver("latest", records=3)
    tried.advance("2s")
    for n in range(3, 9):
        tried.log.append("t", 0, key=None, value=b'{"n":%d}' % n, timestamp_ms=0)
    tried.log.committed["t/0"] = 3
    tried.store.commits["t/0"] = 3
    tried.log.delete_before("t", 0, 7)
    with pytest.raises(StateError) as caught:
        tried.crash()
    for words in ("spout: offset 3 of t/0 is committed", "the 4 offsets from 3 to 6 were deleted before", "--fresh"):
        assert words in str(caught.value)
    assert tried.seen == []


def test_a_committed_offset_beyond_the_end_stops() -> None:
    """The topic was made anew, or a broker lost its end."""
    tried = driver("earliest", records=3)
    tried.advance("2s")
    tried.log.committed["t/0"] = 9
    with pytest.raises(StateError, match="made anew, or the 6 offsets from 3 to 8 were lost"):
        tried.crash()


@pytest.mark.parametrize("start", ["newest", "2026-13-01", 5, None, {0: -1}, {"0": 1}, [1]])
def test_a_start_that_is_none_is_told_when_the_class_is_made(start: Any) -> None:
    """With what to write instead."""
    with pytest.raises(SettingsError, match="offsets"):
        type("Mine", (KafkaSpout,), {"topic": "t", "schema": Line, "start": start})
