"""Mistakes in a test and in what it tries are told: wrong names, wrong offsets, functions that change their mind."""

import random
from collections.abc import Callable

import pytest
from driver_parts import Good, PerTen, Reading, driver, reading

from stormline import Count, FilterBolt, WindowBolt, tumbling
from stormline.core.errors import StormlineError
from stormline.testing import Driver, assert_deterministic


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda tried: tried.results("blot"), "name a component with results: bolt, not blot"),
        (lambda tried: tried.kill("blot"), "name a component: input, bolt, out, not blot"),
        (lambda tried: tried.send({}, topic="outlet"), "name a topic: input, not outlet"),
        (lambda tried: tried.messages("outlet"), "name a topic: input, not outlet"),
        (lambda tried: tried.send({}, partition=1), "no partition 1"),
        (lambda tried: (tried.end(), tried.send({})), "the input has ended"),
        (lambda tried: Driver(PerTen, schema=Reading, bounded=False).end(), "bounded=False"),
        (lambda tried: Driver(Good, schema=Reading).results(), "there is none"),
    ],
)
def test_a_mistake_in_a_test_is_told(mistake: Callable[[Driver], object], message: str) -> None:
    """
    Names that do not exist and inputs that have ended are refused, not answered with nothing.
    """
    with pytest.raises(ValueError, match=message):
        mistake(driver())


def test_a_mistake_in_a_component_stops_the_test() -> None:
    """
    What no single record can be blamed for is raised where the test called.
    """
    tried = driver()
    tried.send(reading(1))
    tried.log.committed["input/0"] = 9
    with pytest.raises(StormlineError, match="offset 9 of input/0 is committed, but the topic holds 0 to 1"):
        tried.crash()


class Moody(WindowBolt):
    key = staticmethod(lambda record: random.random())
    window = tumbling("10ms")
    aggregate = {"readings": Count()}


class Forgetful(FilterBolt):
    seen: set[int] = set()  # noqa: RUF012

    def keep(self, record: Reading) -> bool:
        known = record.at in self.seen
        self.seen.add(record.at)
        return not known


def test_user_functions_that_change_their_mind_are_found() -> None:
    """
    A key drawn by chance and a filter that remembers are named; the same functions without whims pass.
    """
    feed = [reading(at) for at in range(5)]
    with pytest.raises(AssertionError, match="Moody are not deterministic: fed the same again, results of bolt"):
        assert_deterministic(Moody, feed, schema=Reading, event_time="at")
    with pytest.raises(AssertionError, match="Forgetful are not deterministic: fed the same again, records sent on"):
        assert_deterministic(Forgetful, feed, schema=Reading, event_time="at")
    assert_deterministic(PerTen, feed, schema=Reading, event_time="at")
