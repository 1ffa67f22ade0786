"""Oracle: what DuckDB's SQL says of windows over the same records, in whatever order they come, whatever dies.

Each history goes through the driver: out of order within the bound, cut into batches, with crashes, deaths, lost
flushes and lost answers in between. In the end the final rows must be those of one query.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline import Count, First, Last, Max, Mean, Min, Record, Sum, WindowBolt, calendar, session, sliding, tumbling
from stormline.testing import Driver

ZONE = "Europe/Berlin"
BEGAN_MS = int(datetime(2026, 3, 28, tzinfo=UTC).timestamp() * 1000)
"""The day before summer time begins in Berlin."""
HOUR_MS = 3_600_000
BOUND = 6


class Sale(Record):
    at: int
    user: str
    amount: int


class Sales(WindowBolt):
    key = "user"
    window = tumbling("10ms")
    aggregate = {
        "n": Count(),
        "total": Sum("amount"),
        "least": Min("amount"),
        "most": Max("amount"),
        "mean": Mean("amount"),
        "first": First("amount"),
        "last": Last("amount"),
    }


class Shifted(Sales):
    window = tumbling("10ms", offset="3ms")


class Sliding(Sales):
    window = sliding("10ms", "4ms")


class Often(Sales):
    window = sliding("12ms", "1ms", offset="0ms")


class Sessions(Sales):
    window = session("4ms")


class Days(Sales):
    window = calendar("day", tz=ZONE)


class Weeks(Sales):
    window = calendar("week", tz=ZONE)


ROW = """count(*), sum(amount), min(amount), max(amount), avg(amount), first(amount order by t, origin),
    last(amount order by t, origin)"""


def fixed(size: int, slide: int, offset: int = 0) -> str:
    """Each record in each window that holds it."""
    return f"""
        select user_, start, start + {size}, {ROW} from (
            select s.*, unnest(range(
                (t - {size} - {offset}) // {slide} * {slide} + {offset}, t + 1, {slide})) as start from sales s
        ) where start <= t and t < start + {size} group by user_, start"""


def gaps(gap: int) -> str:
    """Gaps and islands."""
    return f"""
        select user_, min(t), max(t) + {gap}, {ROW} from (
            select *, sum(begins) over (partition by user_ order by t, origin) as session from (
                select *, (t - coalesce(lag(t) over (partition by user_ order by t, origin), -1000) >= {gap})::int
                    as begins from sales
            )
        ) group by user_, session"""


def days(unit: str) -> str:
    """By the local clock."""
    local = f"epoch_ms({BEGAN_MS} + t * {HOUR_MS}) at time zone 'UTC' at time zone '{ZONE}'"
    start = f"date_trunc('{unit}', {local})"
    ms = f"epoch_ms(({{}}) at time zone '{ZONE}')"
    return f"""
        select user_, {ms.format("day")}, {ms.format(f"day + interval 1 {unit}")}, {ROW}
        from (select *, {start} as day from sales) group by user_, day"""


CASES: dict[type, tuple[str, int]] = {
    Sales: (fixed(10, 10), 1),
    Shifted: (fixed(10, 10, 3), 1),
    Sliding: (fixed(10, 4), 1),
    Often: (fixed(12, 1), 1),
    Sessions: (gaps(4), 1),
    Days: (days("day"), HOUR_MS),
    Weeks: (days("week"), HOUR_MS),
}
"""Bolt -> the query, and what one step of a record's time is in ms."""


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute("set threads = 1")
    connection.execute("create table sales (t bigint, origin int, user_ text, amount int)")
    yield connection
    connection.close()


sales = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, BOUND), st.sampled_from("ab"), st.integers(-9, 9)), max_size=25
)
"""For each: how far time goes on, how far the record is behind it, whose it is, how much."""
faults = st.lists(st.sampled_from(["run", "wait", "crash", "kill", "flush", "reply", "redis"]), max_size=25)


def drawn(history: list[tuple[int, int, str, int]]) -> list[tuple[int, str, int]]:
    now, made = BOUND, []
    for on, behind, user, amount in history:
        now += on
        made.append((now - behind, user, amount))
    return made


def happen(tried: Driver, what: str) -> None:
    match what:
        case "run":
            tried.run()
        case "wait":
            tried.advance("700ms")
        case "crash":
            tried.crash()
        case "kill":
            tried.kill("bolt")
        case "flush":
            tried.lose_next_flush()
        case "reply":
            tried.lose_next_reply()
        case "redis":
            tried.restart_redis()


def played(bolt: type, made: list[tuple[int, str, int]], events: list[str], step_ms: int) -> list[tuple[Any, ...]]:
    began_ms = BEGAN_MS if step_ms > 1 else 0
    tried = Driver(bolt, schema=Sale, event_time="at", out_of_order=f"{BOUND * step_ms}ms")
    for number, (at, user, amount) in enumerate(made):
        tried.send(Sale(began_ms + at * step_ms, user, amount), run=False)
        if number < len(events):
            happen(tried, events[number])
    tried.end()
    assert [] == tried.late()
    rows = tried.results()
    assert all(row.state == "final" for row in rows)
    return sorted((row.key, row.start_ms, row.end_ms, *row.values.values()) for row in rows)


@pytest.mark.parametrize("bolt", CASES, ids=lambda bolt: bolt.__name__)
@settings(max_examples=40, deadline=None)
@given(sales, faults)
def test_final_rows_are_those_of_one_query(
    database: Any, bolt: type, history: list[tuple[int, int, str, int]], events: list[str]
) -> None:
    """
    Tumbling, sliding, session and calendar windows, over a change of the clocks: row for row.
    """
    query, step_ms = CASES[bolt]
    made = drawn(history)
    database.execute("delete from sales")
    if made:
        values = [value for origin, (at, user, amount) in enumerate(made) for value in (at, origin, user, amount)]
        database.execute(f"insert into sales values {', '.join(['(?, ?, ?, ?)'] * len(made))}", values)
    expected = sorted(tuple(row) for row in database.execute(query).fetchall())
    assert expected == played(bolt, made, events, step_ms)


@settings(max_examples=40, deadline=None)
@given(sales)
def test_polars_says_the_same_of_sliding_sums(history: list[tuple[int, int, str, int]]) -> None:
    """
    A third opinion: polars' dynamic groups.
    """
    made = drawn(history)
    found = [row[:5] for row in played(Often, made, [], 1)]
    if not made:
        assert [] == found
        return
    frame = polars.DataFrame(made, schema=["at", "user", "amount"], orient="row").sort("user", "at")
    grouped = frame.group_by_dynamic("at", every="1i", period="12i", group_by="user", start_by="window").agg(
        polars.len().alias("n"), polars.col("amount").sum()
    )
    expected = {(user, at, at + 12, n, total) for user, at, n, total in grouped.iter_rows()}
    # Its groups begin at a key's first record; earlier windows that hold it as well it does not make.
    first = {user: min(at for at, whose, _ in made if whose == user) for _, user, _ in made}
    assert expected == {row for row in found if row[1] >= first[row[0]]}
