"""What each user traded in each hour."""

from stormline import Count, Max, Mean, Min, Sum, WindowBolt, tumbling


class HourlyAmounts(WindowBolt):
    key = "user_id"
    window = tumbling("1h")
    aggregate = {
        "trades": Count(),
        "amount": Sum("amount"),
        "smallest": Min("amount"),
        "largest": Max("amount"),
        "mean": Mean("amount"),
    }
