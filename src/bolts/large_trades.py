"""Only trades that are worth looking at."""

from decimal import Decimal

from spouts.trades import Trade
from stormline import FilterBolt

LEAST = Decimal("100.00")


class LargeTrades(FilterBolt):
    def keep(self, trade: Trade) -> bool:
        return trade.amount >= LEAST
