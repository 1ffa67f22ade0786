"""An alert for each user who trades very often without a pause."""

from typing import Any

from stormline import Count, Sum, WindowBolt, session

MANY = 500


class BusySessions(WindowBolt):
    key = "user_id"
    window = session("1m")
    aggregate = {"trades": Count(), "amount": Sum("amount")}

    def trigger(self, busy: Any) -> bool:
        return bool(busy.trades >= MANY)
