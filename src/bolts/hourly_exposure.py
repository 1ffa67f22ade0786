"""An alert for each user who has traded more than a limit within an hour, any hour."""

from decimal import Decimal
from typing import Any

from stormline import Count, Sum, WindowBolt, sliding

LIMIT = Decimal("250000.00")


class HourlyExposure(WindowBolt):
    key = "user_id"
    window = sliding("1h", "5m")
    aggregate = {"amount": Sum("amount"), "trades": Count()}

    def trigger(self, hour: Any) -> bool:
        return bool(hour.amount > LIMIT)
