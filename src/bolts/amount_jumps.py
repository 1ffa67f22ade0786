"""An alert for each trade that is far above what its user usually trades.

What is usual is the mean and the deviation of the user's own trades so far, by Welford's method.
"""

from collections.abc import Iterator
from decimal import Decimal

from spouts.trades import Trade
from stormline import ProcessBolt, Record, State

ENOUGH = 20
"""Trades after which it is known what is usual."""
DEVIATIONS = 5


class Usual(State):
    trades: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """The sum of the squared distances from the mean."""
    alerts: int = 0


class Jump(Record):
    time: int
    user_id: int
    amount: Decimal
    usual: float


class AmountJumps(ProcessBolt):
    key = "user_id"
    state = Usual
    schema = Jump

    def process(self, trade: Trade, usual: Usual) -> Iterator[Jump]:  # type: ignore[override]
        amount = float(trade.amount)
        if usual.trades >= ENOUGH and amount > usual.mean + DEVIATIONS * (usual.squares / usual.trades) ** 0.5:
            usual.alerts += 1
            yield Jump(trade.time, trade.user_id, trade.amount, round(usual.mean, 2))
        usual.trades += 1
        away = amount - usual.mean
        usual.mean += away / usual.trades
        usual.squares += away * (amount - usual.mean)
