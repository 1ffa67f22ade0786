"""Only purchases that are worth looking at."""

from decimal import Decimal

from spouts.purchases import Purchase
from stormline import FilterBolt

LEAST = Decimal("5.00")


class LargePurchases(FilterBolt):
    def keep(self, purchase: Purchase) -> bool:
        return purchase.amount >= LEAST
