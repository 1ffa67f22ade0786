"""Oracle: what DuckDB says of the same records, for each aggregate that SQL knows, by key; Hypothesis draws them."""

import math
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from core.aggregates import EXACT, OF_FLOATS, SKETCHED, Row, Trade, fold, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline.core.aggregate import Aggregation

ORDER = "order by at_ms, part, origin"
SQL = {
    "n": "count(*)",
    "humans": "count(*) filter (human)",
    "with_fee": "count(fee)",
    "quantity": "sum(quantity)",
    "price": "sum(price)",
    "fees": "sum(fee)",
    "worth": "sum(price::decimal(14, 2) * quantity::decimal(9, 0))",
    "human_worth": "sum(price::decimal(14, 2) * quantity::decimal(9, 0)) filter (human)",
    "least": "min(price)",
    "most": "max(price)",
    "least_ratio": "min(ratio)",
    "first_user": "min(user_)",
    "last_day": "max(day)",
    "days": "max(day) - min(day)",
    "spread": "max(price) - min(price)",
    "mean": "avg(price)",
    "mean_quantity": "avg(quantity) filter (quantity > 0)",
    "mean_fee": "avg(fee)",
    "vwap": "sum(price * quantity::double) / nullif(sum(quantity), 0)",
    "variance": "var_samp(price::double)",
    "population": "var_pop(quantity)",
    "deviation": "stddev_samp(price::double)",
    "deviation_quantity": "stddev_samp(quantity)",
    "any_human": "bool_or(human)",
    "all_human": "bool_and(human)",
    "all_many": "bool_and(quantity > 1)",
    "bars": "[count(*) filter (price < 0), count(*) filter (price >= 0 and price < 10),"
    " count(*) filter (price >= 10 and price < 20.5), count(*) filter (price >= 20.5)]",
    "opened": f"first(price {ORDER})",
    "closed": f"last(price {ORDER})",
    "last_fee": f"last(fee {ORDER}) filter (fee is not null)",
    "last_trade": f"last(origin {ORDER}) filter (human)",
    "users": f"list(user_ {ORDER})[:3]",
    "trades": f"list(origin {ORDER})[:2]",
    "shouted": f"string_agg(upper(user_), ' ' {ORDER})",
    "prices": "count(distinct price)",
    "several": "approx_count_distinct(user_)",
    "middle": "quantile_disc(price, [0.25, 0.5, 1])",
    "total": "sum(ratio)",
    "mean_ratio": "avg(ratio)",
    "variance_ratio": "var_samp(ratio)",
    "deviation_ratio": "stddev_samp(ratio)",
    "weighted": "sum(ratio * quantity) / nullif(sum(quantity), 0)",
    "doubled": "var_samp(2 * ratio)",
}
ROW = f"({', '.join('?' * 11)})"
APPROXIMATE = {"several"}
"""SQL does not know it exactly."""
AGGREGATES = {
    **EXACT,
    **SKETCHED,
    **{name if name not in EXACT else f"{name}_ratio": aggregate for name, aggregate in OF_FLOATS.items()},
}
AGGREGATION = Aggregation(AGGREGATES, Trade)


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    connection.execute(
        "create table trades (key int, at_ms int, part text, origin int, quantity int, price decimal(12, 2),"
        " ratio double, user_ text, human bool, day date, fee decimal(12, 2))"
    )
    yield connection
    connection.close()


def told(database: Any, drawn: list[Row], key: Any) -> dict[int, dict[str, Any]]:
    """For each key what SQL says, by name."""
    database.execute("delete from trades")
    values = [
        value
        for trade, place in drawn
        for value in (
            *(key(trade), *place, trade.quantity, trade.price, trade.ratio, trade.user, trade.human),
            *(trade.day, trade.fee),
        )
    ]
    if drawn:
        database.execute(f"insert into trades values {', '.join([ROW] * len(drawn))}", values)
    found = database.execute(f"select key, {', '.join(SQL.values())} from trades group by key").fetchall()
    return {row[0]: dict(zip(SQL, row[1:], strict=True)) for row in found}


def comparable(name: str, value: Any, rows: list[Row]) -> Any:
    """Ours as SQL would say it."""
    if name == "users":
        return value.values
    if name == "trades":
        return [place[2] for trade in value.values for one, place in rows if one is trade]
    if name == "last_trade":
        return next((place[2] for one, place in rows if one is value), None)
    if name == "shouted" and value.endswith(" more)"):
        return value.rpartition(" (")[0]
    if isinstance(value, timedelta):
        return value.days
    return list(value) if isinstance(value, tuple) else value[1:] if name == "middle" else value


def equal(name: str, one: Any, other: Any, largest: float) -> bool:
    """Exactly, but for quotients, which SQL knows as doubles only: then to 12 digits of the largest value."""
    if not isinstance(other, float) or one is None:
        return bool(one == other)
    spread = largest**2 if "variance" in name or name in ("population", "doubled") else largest
    digits = 1e-6 if "deviation" in name else 1e-12
    return math.isclose(float(one), other, rel_tol=1e-12, abs_tol=spread * digits)


@settings(deadline=None)
@given(rows(max_size=16), st.integers(1, 3))
def test_sql_says_the_same(database: Any, drawn: list[Row], keys: int) -> None:
    """
    Each aggregate of each key is what one SQL query says.
    """

    def key(trade: Trade) -> int:
        return trade.quantity % keys

    expected = told(database, drawn, key)
    assert {key(trade) for trade, _ in drawn} == set(expected)
    for number, row in expected.items():
        mine = [one for one in drawn if key(one[0]) == number]
        result = AGGREGATION.result(fold(AGGREGATION, mine))
        largest = max(abs(float(x)) for trade, _ in mine for x in (trade.price, trade.quantity, trade.ratio, 1))
        for name in SQL.keys() - APPROXIMATE:
            found, said = comparable(name, getattr(result, name), mine), row[name]
            if name == "shouted" and len(mine) > 4:
                said = " ".join(trade.user.upper() for trade, _ in sorted(mine, key=lambda one: one[1])[:4])
            assert equal(name, found, said, largest), f"{name}: {found!r}, by SQL {said!r}"


def test_every_aggregate_is_asked_of_sql() -> None:
    """
    None is forgotten but the most frequent values, for which SQL has a query and no function.
    """
    assert {"top"} == set(AGGREGATES) - set(SQL)


@settings(deadline=None)
@given(rows(max_size=16))
def test_sql_says_the_same_of_the_most_frequent(database: Any, drawn: list[Row]) -> None:
    """
    The two most frequent users, of equally frequent ones the first by the text.
    """
    told(database, drawn, lambda trade: 0)
    query = "select user_, count(*) from trades group by user_ order by count(*) desc, to_json(user_)::text limit 2"
    result = AGGREGATION.result(fold(AGGREGATION, drawn))

    assert database.execute(query).fetchall() == result.top.values
    assert result.top.error == 0
    assert isinstance(result.mean, Decimal | None)
