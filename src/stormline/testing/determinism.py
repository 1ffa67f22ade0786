"""Whether user functions send a record, replayed, where it went before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stormline.testing.driver import Driver


def assert_deterministic(tried: type, values: Iterable[Any], **settings: Any) -> None:
    """Feed the same values twice to a `Driver(tried, **settings)` and compare all that came of them.

    Exactly-once counting rests on it: a record that a replay sends to another key, or that a filter judges otherwise
    for another key, counts twice or not at all. Functions that use chance, `id`, `hash` of texts in another process, or
    state of their own are found; what follows the day's date is found on another day.

    Raises:
        AssertionError: the two differ; says in what.
    """
    feed = list(values)
    once, again = (_outcome(tried, feed, settings) for _ in range(2))
    for what, first in once.items():
        if first != again[what]:
            gone = [found for found in first if found not in again[what]]
            new = [found for found in again[what] if found not in first]
            raise AssertionError(
                f"the user functions of {tried.__name__} are not deterministic: fed the same again, {what} "
                f"{gone[:3]} became {new[:3]}; take chance, clocks and state of their own out of them"
            )


def _outcome(tried: type, feed: list[Any], settings: dict[str, Any]) -> dict[str, list[Any]]:
    driver = Driver(tried, **settings)
    for value in feed:
        driver.send(value, run=False)
    driver.end()
    found: dict[str, list[Any]] = {}
    for component in driver.keyed:
        found[f"results of {component}"] = driver.results(component)
        found[f"late records of {component}"] = driver.late(component)
    found["records sent on"] = driver.out
    letters = [letter for topic in driver.topics for letter in driver.dead_letters(topic)]
    found["dead letters"] = [(letter.component, letter.origin) for letter in letters]
    return found
