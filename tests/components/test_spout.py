"""How a spout behaves beside what is stuck, slow or switched off."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from stormline import Count, FilterBolt, KafkaSpout, Record, Topology, WindowBolt, tumbling
from stormline.testing import Driver

FETCH = 80
"""Records of eight batches come in one go."""


class Line(Record):
    n: int
    text: str = ""


class Lines(KafkaSpout):
    topic = "t"
    schema = Line
    max_batch = 10
    max_pending = 100
    max_pending_bytes = 4_000


class Hourly(WindowBolt):
    key = "n"
    window = tumbling("1h")
    aggregate = {"lines": Count()}


class Counting(Topology):
    lines = Lines.spec()
    hourly = Hourly.spec(inputs=[lines])


class Passing(FilterBolt):
    def keep(self, line: Line) -> bool:
        return True


class Twice(Topology):
    lines = Lines.spec(par=3)
    passing = Passing.spec(inputs=[lines])


def sent(tried: Driver, count: int, text: str = "") -> None:
    for n in range(count):
        tried.send(Line(n, text), run=False)
    tried.run()


@pytest.mark.parametrize(("text", "most"), [("", 100 + FETCH), ("x" * 180, 20 + FETCH)])
def test_what_is_not_acked_bounds_what_is_fetched(text: str, most: int) -> None:
    """
    In records, or in bytes where they are large; once the downstream goes on, all of it comes, and is counted once.
    """
    tried = Driver(Counting)
    tried.stop_redis()
    sent(tried, 500, text)
    assert 20 <= tried.status()["lines"][0].records_in <= most

    tried.restart_redis()
    tried.advance("20s")
    tried.end()
    assert [1] * 500 == [row.values["lines"] for row in tried.results()]


def test_a_deactivated_spout_commits_what_is_acked_and_goes_on_when_activated() -> None:
    """
    At once, not at the next second; what comes meanwhile is left where it is.
    """
    tried = Driver(Twice, bounded=False)
    tried.send(Line(1))
    assert {"t/0": 0} == tried.committed
    tried._engine.deactivate()
    tried.run()
    assert {"t/0": 1} == tried.committed

    tried.send(Line(2))
    tried.advance("3s")
    assert {"t/0": 1} == tried.committed
    tried._engine.activate()
    tried.advance("3s")
    assert {"t/0": 2} == tried.committed


def test_fewer_partitions_than_tasks_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """
    Once, with how many tasks read nothing; and it is no fault.
    """
    with caplog.at_level(logging.WARNING):
        tried: Any = Driver(Twice, partitions=1)
    (said,) = [record.message for record in caplog.records if "tasks" in record.message]
    assert "3 tasks, but t has 1 partitions: 2 tasks have nothing to read" in said
    tried.send(Line(1))
    tried.end()
    assert {"t/0": 1} == tried.committed
