"""Aggregates in the windows of a bolt: as in one pass over all records, through crashes and restarts of Redis."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from stormline import (
    Collect,
    Concat,
    Count,
    Distinct,
    First,
    KafkaSpout,
    Last,
    Mean,
    Quantiles,
    Record,
    StdDev,
    Sum,
    TopK,
    Topology,
    WindowBolt,
    count_window,
    session,
    sliding,
    tumbling,
)
from stormline.components.graph import graph_fingerprint
from stormline.core.aggregate import Aggregation
from stormline.core.errors import SettingsError
from stormline.testing import Driver


class Trade(Record):
    at: int
    amount: Decimal
    user: str = "ann"
    human: bool = True


def size(trade: Trade) -> str:
    return "large" if trade.amount > 4 else "small"


class Spent:
    """A user's own: refuses what it does not like."""

    value = "amount"

    def create(self) -> Decimal:
        return Decimal(0)

    def add(self, accumulator: Decimal, value: Decimal) -> Decimal:
        if value == 13:
            raise ArithmeticError("13 brings bad luck")
        return accumulator + value

    def merge(self, left: Decimal, right: Decimal) -> Decimal:
        return left + right

    def result(self, accumulator: Decimal) -> Decimal:
        return accumulator


AGGREGATES: dict[str, Any] = {
    "trades": Count(),
    "by_hand": Count(where="human"),
    "big": Sum("amount", where=lambda trade: trade.amount > 4),
    "mean": Mean("amount"),
    "deviation": StdDev("amount"),
    "opened": First("amount"),
    "closed": Last("amount"),
    "latest": Last(),
    "sizes": Concat(size, separator=" "),
    "first_two": Collect("amount", limit=2),
    "users": Distinct("user", limit=2),
    "middle": Quantiles("amount", [0.5]),
    "top": TopK("user", 1),
    "spent": Spent(),
}


class InTens(WindowBolt):
    window = tumbling("10ms")
    aggregate = AGGREGATES


class Sliding(WindowBolt):
    window = sliding("20ms", "10ms")
    aggregate = AGGREGATES


class Sessions(WindowBolt):
    window = session("5ms")
    aggregate = AGGREGATES


class Pairs(WindowBolt):
    window = count_window(2)
    aggregate = AGGREGATES


TRADES = [Trade(at, Decimal(at % 7), "abcd"[at % 4], at % 3 == 0) for at in [0, 4, 3, 9, 1, 25, 14, 11, 12, 28, 21, 40]]


def expected(trades: list[tuple[int, Trade]]) -> Any:
    aggregation = Aggregation(AGGREGATES, Trade)
    state = None
    for offset, trade in trades:
        state = aggregation.add(state, trade, (trade.at, "input/0", offset))
    assert state is not None
    return msgspec.json.decode(aggregation.write_results({"k": state})["k"])


@pytest.mark.parametrize("bolt", [InTens, Sliding, Sessions])
@pytest.mark.parametrize("fault", ["none", "crash", "redis", "task"])
def test_a_window_says_what_one_pass_says(bolt: type, fault: str) -> None:
    """
    Each window of each kind, though records come in disorder and the task, all, or Redis is restarted half-way.
    """
    tried = Driver(bolt, schema=Trade, event_time="at", out_of_order="50ms")
    for number, trade in enumerate(TRADES):
        tried.send(trade)
        if number == 6 and fault != "none":
            tried.advance("1s")
            {"crash": tried.crash, "redis": tried.restart_redis, "task": lambda: tried.kill("bolt")}[fault]()
    tried.end()
    rows = tried.results()

    assert len(rows) >= 3
    for row in rows:
        inside = [(offset, trade) for offset, trade in enumerate(TRADES) if row.start_ms <= trade.at < row.end_ms]
        assert expected(inside) == row.values
        assert "final" == row.state


@pytest.mark.parametrize("bolt", [InTens, Sliding, Sessions, Pairs])
def test_what_an_aggregate_refuses_is_a_dead_letter(bolt: type) -> None:
    """
    NaN, an own aggregate that raises: that record is set aside, and the rest of its batch counts.
    """
    tried = Driver(bolt, schema=Trade, event_time="at", out_of_order="50ms")
    for amount in ("1", "NaN", "13", "2"):
        tried.send({"at": 1, "amount": amount}, run=False)
    tried.run()
    tried.end()

    assert ["input/0/1", "input/0/2"] == [letter.origin for letter in tried.dead_letters()]
    assert {"2"} == {row.values["closed"] for row in tried.results()}
    assert {2} == {row.values["trades"] for row in tried.results()}


class Trades(KafkaSpout):
    topic = "trades"
    schema = Trade


def fingerprint(**aggregate: Any) -> str:
    bolt = type("Mine", (WindowBolt,), {"window": tumbling("1s"), "aggregate": aggregate})
    spout = Trades.spec()
    return graph_fingerprint(type("Mine", (Topology,), {"trades": spout, "bolt": bolt.spec(inputs=[spout])}))


def test_aggregates_are_part_of_the_fingerprint() -> None:
    """
    The same made anew are the same, also a user's own; a changed function, option or condition is another topology.
    """
    same = fingerprint(a=Sum(lambda t: t.amount * 2), b=Spent(), c=Collect(limit=5))
    others = [
        fingerprint(a=Sum(lambda t: t.amount * 3), b=Spent(), c=Collect(limit=5)),
        fingerprint(a=Sum(lambda t: t.amount * 2), b=Spent(), c=Collect(limit=6)),
        fingerprint(a=Sum(lambda t: t.amount * 2, where="human"), b=Spent(), c=Collect(limit=5)),
        fingerprint(a=Sum(lambda t: t.amount * 2), b=Count(), c=Collect(limit=5)),
    ]

    assert same == fingerprint(a=Sum(lambda t: t.amount * 2), b=Spent(), c=Collect(limit=5))
    assert 5 == len({same, *others})


def test_all_faults_of_the_aggregates_are_told_when_it_is_wired() -> None:
    """
    Those that need the schema, by the name of the bolt, one line each.
    """
    wrong = {"total": Sum("price"), "users": Sum("user")}
    with pytest.raises(SettingsError) as caught:
        Driver(type("Mine", (WindowBolt,), {"window": tumbling("1s"), "aggregate": wrong}), schema=Trade)

    assert "Mine: " in str(caught.value)
    assert 2 == len(str(caught.value).splitlines())


def test_all_other_faults_are_told_when_the_class_is_made() -> None:
    """
    With the place in the user's code.
    """
    wrong = {"key": Count(), "some": Collect(limit=0), "spread": Quantiles("amount", [50])}
    with pytest.raises(SettingsError, match="'key' needs another name") as caught:
        type("Mine", (WindowBolt,), {"window": tumbling("1s"), "aggregate": wrong})

    told = ("limit = 0", "asks for the quantile 50", "test_aggregates.py")
    assert [] == [part for part in told if part not in str(caught.value)]
