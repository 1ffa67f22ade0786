"""What all customers together bought on each day."""

from stormline import Count, Sum, WindowBolt, calendar


class DailyPurchases(WindowBolt):
    window = calendar("day")
    aggregate = {"purchases": Count(), "amount": Sum("amount")}
