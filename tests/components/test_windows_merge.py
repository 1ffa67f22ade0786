"""A merge of a user's own that raises: it costs one key its row, or sets one record aside, and nothing stops."""

from typing import Any

from window_parts import Sale, driver, feed, sent

from stormline import every, session, sliding


class Touchy:
    """The sum, which cannot be merged with more than a hundred."""

    def __init__(self, field: str) -> None:
        self.field = field

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, sale: Any) -> int:
        return accumulator + int(sale.amount)

    def merge(self, left: int, right: int) -> int:
        if left > 100 or right > 100:
            raise ValueError("too much to merge")
        return left + right

    def result(self, accumulator: int) -> int:
        return accumulator


def test_a_merge_that_raises_costs_one_key_its_row() -> None:
    """
    At a flush no record is to blame: a dead letter names key and window, other keys have their rows, nothing stops.
    """
    tried = driver(sliding("20ms", "10ms"), aggregate={"n": Touchy("amount")})
    for user, amount in (("ann", 5), ("bob", 200), ("cyd", 7)):
        tried.send(Sale(5, amount, user))
        tried.send(Sale(15, 1, user))
    tried.end()
    rows = {(row.key, row.start_ms): row.values["n"] for row in tried.results()}
    assert {("ann", 0): 6, ("cyd", 0): 8} == {place: n for place, n in rows.items() if place[1] == 0}
    letters = [str(letter) for letter in tried.dead_letters("bolt")]
    assert letters
    assert all("too much to merge; it was merge, for the window" in letter for letter in letters)
    assert all('key "bob"' in letter for letter in letters)


def test_a_trigger_by_time_leaves_out_a_key_whose_merge_raises() -> None:
    """
    By then the row that was to be sent cannot be put together any more; others are sent.
    """
    settings: dict[str, Any] = {"trigger": every("1m", time="processing"), "aggregate": {"n": Touchy("amount")}}
    tried = driver(sliding("20ms", "10ms"), **settings)
    tried.send(Sale(15, 7, "bob"))
    feed(tried, 15)
    tried.advance("58990ms")
    tried.send(Sale(5, 200))  # the minute is over before the next flush
    tried.advance("1m")
    assert {"bob": 7} == {update["key"]: update["n"] for update in sent(tried, "updates")}


def test_a_session_whose_merge_raises_sets_the_record_aside() -> None:
    """
    The record that would join two sessions is broken; the two stay as they were.
    """
    tried = driver(session("10ms"), aggregate={"n": Touchy("amount")})
    for at, amount in ((0, 200), (15, 3), (8, 1)):
        tried.send(Sale(at, amount))
    tried.end()
    assert [(0, 200), (15, 3)] == [(row.start_ms, row.values["n"]) for row in tried.results()]
    assert 1 == len(tried.dead_letters())
