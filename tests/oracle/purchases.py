"""What the results of `topologies/purchases.py` must be, computed from the file alone: SQL over cents.

Shares no code with `src/`.

Rows look like the lines of `sparse results COMPONENT --json`.
"""

import csv
import gzip
import json
import sqlite3
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "data" / "cdnow.csv.gz"
LEAST_CENTS = 500
LIMIT_CENTS = 50_000


def rows(file: Path = FILE) -> dict[str, list[dict[str, Any]]]:
    """Component -> its rows, in the order of window and key."""
    with gzip.open(file, "rt", newline="") as text:
        purchases = [
            (row["date"], int(Decimal(row["amount"]) * 100), int(row["user_id"])) for row in csv.DictReader(text)
        ]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE purchases (day TEXT, cents INTEGER, customer INTEGER)")
    database.executemany("INSERT INTO purchases VALUES (?, ?, ?)", purchases)
    monthly = database.execute(
        "SELECT substr(day, 1, 7) AS month, customer, count(*), sum(cents), min(cents), max(cents) FROM purchases "
        "WHERE cents >= ? GROUP BY month, customer ORDER BY month, customer",
        (LEAST_CENTS,),
    )
    daily = database.execute(
        "SELECT day, count(*), sum(cents) FROM purchases WHERE cents >= ? GROUP BY day ORDER BY day", (LEAST_CENTS,)
    )
    alerts = database.execute(
        "SELECT substr(day, 1, 7) AS month, customer, count(*), sum(cents) AS total, max(day) FROM purchases "
        "WHERE cents >= ? GROUP BY month, customer HAVING total > ? ORDER BY month, customer",
        (LEAST_CENTS, LIMIT_CENTS),
    )
    return {
        "monthly": [
            _row("monthly", customer, *_month(month))
            | {
                "purchases": count,
                "amount": _money(total),
                "smallest": _money(least),
                "largest": _money(most),
                "mean": str(Decimal(_money(total)) / count),
            }
            for month, customer, count, total, least, most in monthly
        ],
        "daily": [
            _row("daily", None, date.fromisoformat(day), date.fromisoformat(day) + timedelta(days=1))
            | {"purchases": count, "amount": _money(total)}
            for day, count, total in daily
        ],
        "alerts": [
            _row("alerts", customer, *_month(month)) | {"amount": _money(total), "purchases": count, "latest": latest}
            for month, customer, count, total, latest in alerts
        ],
    }


def _row(component: str, key: int | None, start: date, end: date) -> dict[str, Any]:
    times = {"start": f"{start}T00:00:00Z", "end": f"{end}T00:00:00Z"}
    window = "day-UTC" if component == "daily" else "month-UTC"
    return {"component": component, "key": key, "window": window, **times, "state": "final", "revision": 0}


def _month(month: str) -> tuple[date, date]:
    start = date.fromisoformat(f"{month}-01")
    return start, (start + timedelta(days=31)).replace(day=1)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def parsed(lines: str) -> list[dict[str, Any]]:
    """The rows printed by `sparse results --json`."""
    return [json.loads(line) for line in lines.splitlines()]
