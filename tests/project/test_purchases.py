"""The project's own components, in a few lines each, as their author would try them."""

from typing import Any

from bolts.daily_purchases import DailyPurchases
from bolts.large_purchases import LargePurchases
from bolts.monthly_purchases import MonthlyPurchases
from bolts.risk_monitor import RiskMonitor
from spouts.purchases import Purchase
from stormline.testing import Driver


def bought(amount: str, *, by: int = 4, on: str = "1997-01-01") -> bytes:
    """A purchase as it stands in the topic."""
    return f'{{"date": "{on}", "amount": {amount}, "user_id": {by}, "items": 1}}'.encode()


def driver(bolt: type) -> Driver:
    return Driver(bolt, schema=Purchase, event_time="date")


def values(driver: Driver) -> dict[Any, dict[str, Any]]:
    return {(row.start_ms, row.key): row.values for row in driver.results()}


JANUARY, FEBRUARY, DAY = 852_076_800_000, 854_755_200_000, 86_400_000


def test_small_purchases_are_dropped() -> None:
    """
    A purchase of 5.00 passes, one of 4.99 does not.
    """
    tried = driver(LargePurchases)
    tried.send(bought("4.99"))
    tried.send(bought("5.00"))

    assert ["5.00"] == [str(purchase.amount) for purchase in tried.out]
    assert 1 == tried.status()["bolt"][0].dropped


def test_months_are_summed_by_customer_to_the_cent() -> None:
    """
    Purchases of one customer and month make one row, exact in every digit.
    """
    tried = driver(MonthlyPurchases)
    for amount in ("0.10", "0.20", "29.33"):
        tried.send(bought(amount))
    tried.send(bought("7.00", by=5))
    tried.send(bought("1.00", on="1997-02-01"))
    tried.end()

    amounts = {at: (row["purchases"], row["amount"], row["mean"]) for at, row in values(tried).items()}
    assert {
        (JANUARY, 4): (3, "29.63", "9.876666666666666666666666667"),
        (JANUARY, 5): (1, "7.00", "7.00"),
        (FEBRUARY, 4): (1, "1.00", "1.00"),
    } == amounts


def test_days_count_all_customers_together() -> None:
    """
    A day has one row over all customers.
    """
    tried = driver(DailyPurchases)
    tried.send(bought("5.00", by=1))
    tried.send(bought("6.00", by=2))
    tried.send(bought("7.00", by=1, on="1997-01-02"))
    tried.end()

    assert {
        (JANUARY, None): {"purchases": 2, "amount": "11.00"},
        (JANUARY + DAY, None): {"purchases": 1, "amount": "7.00"},
    } == values(tried)


def test_an_alert_appears_while_the_month_is_open() -> None:
    """
    A customer is shown once the month has passed 500.00, not before, live, and once.
    """
    tried = driver(RiskMonitor)
    tried.send(bought("500.00"))
    tried.advance("1s")
    assert [] == tried.results()

    tried.send(bought("0.01", on="1997-01-20"))
    tried.send(bought("9.99", on="1997-01-21"))
    tried.advance("1s")

    (alert,) = tried.results()
    assert ("open", {"amount": "510.00", "purchases": 3, "latest": "1997-01-21"}) == (alert.state, alert.values)
