"""The trades job as a user of streamparse writes it. One task each is its fastest on two cores."""

from bolts.stock_trades import HourlyAmountsBolt, LargeTradesBolt
from spouts.stock_trades import TradesSpout
from streamparse import Grouping, Topology


class StockTrades(Topology):
    config = {"topology.max.spout.pending": 5000}
    trades = TradesSpout.spec()
    large = LargeTradesBolt.spec(inputs=[trades])
    hourly = HourlyAmountsBolt.spec(
        inputs={large: Grouping.fields("user_id")}, config={"topology.tick.tuple.freq.secs": 1}
    )
