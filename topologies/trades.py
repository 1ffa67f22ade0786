"""Trades from Kafka, by user and hour, and watched for three kinds of risk while they come."""

from bolts.amount_jumps import AmountJumps
from bolts.busy_sessions import BusySessions
from bolts.hourly_amounts import HourlyAmounts
from bolts.hourly_exposure import HourlyExposure
from bolts.large_trades import LargeTrades
from spouts.trades import Trades
from stormline import Rows, Top, Topology


class TradesTopology(Topology):
    trades = Trades.spec(par=2)
    large = LargeTrades.spec(inputs=[trades], par=2)
    hourly = HourlyAmounts.spec(inputs=[large], par=2)

    exposure = HourlyExposure.spec(inputs=[large], par=2)
    jumps = AmountJumps.spec(inputs=[trades], par=2)
    busy = BusySessions.spec(inputs=[trades], par=2)

    summary = [
        Top("hourly", by="amount", n=10, title="The ten largest users of the best hour, {window}"),
        Rows("exposure", title="Users who traded more than 250,000.00 in an hour"),
        Rows("busy", title="Users with 500 trades and more without a pause of a minute"),
    ]
