"""START HERE: purchases from Kafka, filtered, by customer and month, by day, and watched for risk."""

from bolts.daily_purchases import DailyPurchases
from bolts.large_purchases import LargePurchases
from bolts.monthly_purchases import MonthlyPurchases
from bolts.risk_monitor import RiskMonitor
from spouts.purchases import Purchases
from stormline import Rows, Top, Topology


class PurchasesTopology(Topology):
    purchases = Purchases.spec()
    large = LargePurchases.spec(inputs=[purchases])
    monthly = MonthlyPurchases.spec(inputs=[large])
    daily = DailyPurchases.spec(inputs=[large])
    alerts = RiskMonitor.spec(inputs=[large])

    summary = [
        Top("monthly", by="amount", n=10, title="The ten best customers of the best month, {window}"),
        Rows("alerts", title="Customers whose month has passed 500.00"),
    ]
