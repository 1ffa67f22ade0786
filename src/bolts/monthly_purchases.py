"""What each customer bought in each month."""

from stormline import Count, Max, Mean, Min, Sum, WindowBolt, calendar


class MonthlyPurchases(WindowBolt):
    key = "user_id"
    window = calendar("month")
    aggregate = {
        "purchases": Count(),
        "amount": Sum("amount"),
        "smallest": Min("amount"),
        "largest": Max("amount"),
        "mean": Mean("amount"),
    }
