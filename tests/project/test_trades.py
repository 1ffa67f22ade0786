"""The trades and their topology, as their author would try them."""

import json
from decimal import Decimal

from oracle.trades import generated

from stormline.testing import Driver
from topologies.trades import TradesTopology

HOUR_MS = 3_600_000


def test_trades_are_as_they_are_described() -> None:
    """
    The same for a seed, others for another; the first of more; 63 % large; out of order by less than 5 s; Zipf's users.
    """
    made = list(generated(30_000, 7))

    assert made == list(generated(30_000, 7))
    assert made[:5] != list(generated(5, 8))
    assert made[:12_345] == list(generated(12_345, 7))
    newest_ms = most_ms = large = 0
    users: dict[bytes, int] = {}
    for number, (key, value, time_ms) in enumerate(made, 1):
        trade = json.loads(value, parse_float=Decimal)
        assert (number, time_ms, key) == (trade["id"], trade["time"], b"%d" % trade["user_id"])
        assert trade["amount"].as_tuple().exponent == -2
        newest_ms = max(newest_ms, time_ms)
        most_ms = max(most_ms, newest_ms - time_ms)
        large += trade["amount"] >= 100
        users[key] = users.get(key, 0) + 1
    assert 4_500 < most_ms < 5_000
    assert 0.62 < large / len(made) < 0.64
    first, second = sorted(users.values(), reverse=True)[:2]
    assert 0.09 < first / len(made) < 0.115
    assert 1.8 < first / second < 2.2
    assert len(users) > 5_000


def test_small_trades_are_dropped_and_hours_summed() -> None:
    """
    100.00 counts, 99.99 does not; each user and hour is a row.
    """
    tried = Driver(TradesTopology)
    for time_ms, user, amount in ((0, 1, "100.00"), (1, 1, "99.99"), (2, 1, "100.01"), (HOUR_MS, 1, "500.00")):
        tried.send(b'{"id":1,"time":%d,"user_id":%d,"amount":%s}' % (time_ms, user, amount.encode()))
    tried.end()

    first = {"trades": 2, "amount": "200.01", "smallest": "100.00", "largest": "100.01", "mean": "100.005"}
    rows = {(row.start_ms, row.key): row.values for row in tried.results("hourly")}
    assert rows[0, 1] == first
    assert "500.00" == rows[HOUR_MS, 1]["amount"]
    assert 2 == len(rows)
