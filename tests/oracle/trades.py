"""What the results of `topologies/trades.py` must be, computed from the records alone: SQL over cents.

Shares no code with `src/`.
"""

import importlib.util
import json
import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parents[2] / "data" / "trades.py"
LEAST_CENTS = 10_000
HOUR_MS = 3_600_000


class Hour(NamedTuple):
    """What a user traded in an hour."""

    trades: int
    cents: int
    smallest: int
    largest: int


def generated(records: int, seed: int) -> Iterator[tuple[bytes, bytes, int]]:
    """The trades of the project's generator: key, value, time in ms."""
    spec = importlib.util.spec_from_file_location("generated_trades", FILE)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield from module.rows(records, seed)


def hours(values: Iterable[bytes]) -> dict[tuple[int, int], Hour]:
    """(start of the hour in ms, user) -> what was traded; `values`: JSON as it stands in the topic."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE trades (hour INTEGER, user INTEGER, cents INTEGER)")
    # A float of so few digits is the nearest to its decimal: a hundred times it, rounded, are the cents.
    trades = map(json.loads, values)
    rows = ((each["time"], each["user_id"], round(each["amount"] * 100)) for each in trades)
    database.executemany(f"INSERT INTO trades VALUES (? / {HOUR_MS} * {HOUR_MS}, ?, ?)", rows)
    found = database.execute(
        "SELECT hour, user, count(*), sum(cents), min(cents), max(cents) FROM trades WHERE cents >= ? "
        "GROUP BY hour, user",
        (LEAST_CENTS,),
    )
    return {(hour, user): Hour(*values) for hour, user, *values in found}


def shown(hour: Hour) -> dict[str, object]:
    """As a line of `sparse results hourly --json` tells it."""
    return {
        "trades": hour.trades,
        "amount": money(hour.cents),
        "smallest": money(hour.smallest),
        "largest": money(hour.largest),
        "mean": str(Decimal(money(hour.cents)) / hour.trades),
    }


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
