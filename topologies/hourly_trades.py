"""Trades from Kafka, filtered, by user and hour: the job of the benchmarks, in two tasks a component.

The filter is cheap, so it runs in the tasks of the spout.
"""

from bolts.hourly_amounts import HourlyAmounts
from bolts.large_trades import LargeTrades
from spouts.trades import Trades
from stormline import Top, Topology


class HourlyTradesTopology(Topology):
    trades = Trades.spec(par=2)
    large = LargeTrades.spec(inputs=[trades], chain=True)
    hourly = HourlyAmounts.spec(inputs=[large], par=2)

    summary = [Top("hourly", by="amount", n=10, title="The ten largest users of the best hour, {window}")]
