"""Trades from Kafka, filtered, by user and hour: the job of the benchmarks, in two tasks a component."""

from bolts.hourly_amounts import HourlyAmounts
from bolts.large_trades import LargeTrades
from spouts.trades import Trades
from stormline import Top, Topology


class HourlyTradesTopology(Topology):
    trades = Trades.spec(par=2)
    large = LargeTrades.spec(inputs=[trades], par=2)
    hourly = HourlyAmounts.spec(inputs=[large], par=2)

    summary = [Top("hourly", by="amount", n=10, title="The ten largest users of the best hour, {window}")]
