"""Records, every aggregate over them, and one of a user's own, for the tests of aggregates."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from stormline import (
    AllTrue,
    AnyTrue,
    Collect,
    Concat,
    Count,
    Distinct,
    First,
    Histogram,
    Last,
    Max,
    Mean,
    Min,
    Quantiles,
    Range,
    StdDev,
    Sum,
    TopK,
    Variance,
    WeightedMean,
)
from stormline.core.aggregate import Accumulators, Aggregation, Place


class Trade(msgspec.Struct, frozen=True):
    at_ms: int
    quantity: int
    price: Decimal
    ratio: float
    user: str
    human: bool
    day: date
    fee: Decimal | None = None


Row = tuple[Trade, Place]


def trade(at_ms: int, price: Any, user: str = "ann", **fields: Any) -> Row:
    values = {"quantity": 1, "ratio": 0.5, "human": True, "day": date(2026, 1, 1 + at_ms), **fields}
    return Trade(at_ms, price=Decimal(price), user=user, **values), (at_ms, "p", at_ms)


DAY = [
    trade(2, "20.10", "bob", quantity=3, human=False),
    trade(0, "10", "ann", quantity=2, fee=Decimal("0.5")),
    trade(1, "30", "ann"),
    trade(3, "20.10", "cem", fee=Decimal("0.7")),
]
"""Four trades, the third of the day arrived first."""


def shout(trade: Trade) -> str:
    return trade.user.upper()


def worth(trade: Trade) -> Decimal:
    return trade.price * trade.quantity


class Longest:
    """An aggregate of a user's own: the longest text, of equally long ones the first in the alphabet."""

    value = "user"

    def create(self) -> str:
        return ""

    def add(self, accumulator: str, value: str) -> str:
        return max(accumulator, value, key=lambda text: (len(text), [-ord(letter) for letter in text]))

    def merge(self, left: str, right: str) -> str:
        return self.add(left, right)

    def result(self, accumulator: str) -> str:
        return accumulator


EXACT: dict[str, Any] = {
    "n": Count(),
    "humans": Count(where="human"),
    "with_fee": Count("fee"),
    "quantity": Sum("quantity"),
    "price": Sum("price"),
    "fees": Sum("fee"),
    "worth": Sum(worth),
    "human_worth": Sum(lambda trade: trade.price * trade.quantity, where="human"),
    "least": Min("price"),
    "most": Max("price"),
    "least_ratio": Min("ratio"),
    "first_user": Min("user"),
    "last_day": Max("day"),
    "days": Range("day"),
    "spread": Range("price"),
    "mean": Mean("price"),
    "mean_quantity": Mean("quantity", where=lambda trade: trade.quantity > 0),
    "mean_fee": Mean("fee"),
    "vwap": WeightedMean("price", "quantity"),
    "variance": Variance("price"),
    "population": Variance("quantity", population=True),
    "deviation": StdDev("price"),
    "deviation_quantity": StdDev("quantity"),
    "any_human": AnyTrue("human"),
    "all_human": AllTrue("human"),
    "all_many": AllTrue(lambda trade: trade.quantity > 1),
    "bars": Histogram("price", [Decimal(0), 10, 20.5]),
    "opened": First("price"),
    "closed": Last("price"),
    "last_fee": Last("fee"),
    "last_trade": Last(where="human"),
    "users": Collect("user", limit=3),
    "trades": Collect(limit=2),
    "shouted": Concat(shout, separator=" ", limit=4),
    "prices": Distinct("price", limit=None),
    "top": TopK("user", k=2),
}
"""What is exact, so that neither order nor parts nor restarts may change it."""

OF_FLOATS: dict[str, Any] = {
    "total": Sum("ratio"),
    "mean": Mean("ratio"),
    "variance": Variance("ratio"),
    "deviation": StdDev("ratio"),
    "weighted": WeightedMean("ratio", "quantity"),
    "doubled": Variance(lambda trade: trade.ratio * 2),
}
"""What is as exact as floats are."""

SKETCHED: dict[str, Any] = {"several": Distinct("user", limit=4), "middle": Quantiles("price", [0, 0.25, 0.5, 1])}
"""Exact too on so few records, but for the number of users."""

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9)
_trades = st.builds(
    Trade,
    at_ms=st.integers(0, 5),
    quantity=st.integers(-3, 10**6),
    price=decimals,
    ratio=st.floats(-(2**20), 2**20, width=32),
    user=st.text("ab'\n", max_size=2),
    human=st.booleans(),
    day=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    fee=st.none() | decimals,
)


@st.composite
def rows(draw: st.DrawFn, max_size: int = 12) -> list[Row]:
    """Trades of two partitions, each with its place."""
    drawn = draw(st.lists(st.tuples(_trades, st.sampled_from("pq")), max_size=max_size))
    return [(trade, (trade.at_ms, partition, offset)) for offset, (trade, partition) in enumerate(drawn)]


def fold(aggregation: Aggregation, rows: list[Row], before: Accumulators | None = None) -> Accumulators:
    """The accumulators of these rows, one after the other."""
    if before == aggregation.read(None, None):
        before = None
    for trade, place in rows:
        before = aggregation.add(before, trade, place) if aggregation.needs_place else aggregation.add(before, trade)
    return aggregation.read(None, None) if before is None else before


def result(aggregates: dict[str, Any], rows: list[Row]) -> Any:
    aggregation = Aggregation(aggregates, Trade)
    return aggregation.result(fold(aggregation, rows))
