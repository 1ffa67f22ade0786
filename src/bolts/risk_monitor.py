"""An alert for each customer whose month has passed a limit: live, once per customer and month."""

from decimal import Decimal
from typing import Any

from stormline import Count, Max, Sum, WindowBolt, calendar

LIMIT = Decimal("500.00")


class RiskMonitor(WindowBolt):
    key = "user_id"
    window = calendar("month")
    aggregate = {"amount": Sum("amount"), "purchases": Count(), "latest": Max("date")}

    def trigger(self, month: Any) -> bool:
        return bool(month.amount > LIMIT)
