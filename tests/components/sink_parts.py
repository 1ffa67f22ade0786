"""Trades, and sinks that write them: as they are, and as messages of their own."""

from __future__ import annotations

from decimal import Decimal

from stormline import Count, FilterBolt, KafkaSink, KafkaSpout, Message, Record, Sum, Topology, WindowBolt, tumbling


class Trade(Record):
    at: int
    user: str
    amount: Decimal


class Trades(KafkaSpout):
    topic = "trades"
    schema = Trade
    event_time = "at"


class All(FilterBolt):
    def keep(self, trade: Trade) -> bool:
        return trade.amount >= 0


class Copies(KafkaSink):
    topic = "copies"


class Chosen(KafkaSink):
    topic = "chosen"

    def message(self, trade: Trade) -> Message | None:
        if trade.amount == 0:
            return None
        if trade.user == "gone":
            return Message(None, key=trade.user)
        return Message(f"{100 / (trade.amount - 7):.2f}", key=trade.user.encode(), headers={"a": "ü", "b": b"\xff"})


class Copying(Topology):
    trades = Trades.spec()
    kept = All.spec(inputs=[trades])
    copies = Copies.spec(inputs=[kept])


class Choosing(Topology):
    trades = Trades.spec()
    chosen = Chosen.spec(inputs=[trades])


class Hourly(WindowBolt):
    key = "user"
    window = tumbling("1h")
    aggregate = {"trades": Count(), "amount": Sum("amount")}


def trade(at: int = 0, user: str = "ann", amount: str = "8") -> Trade:
    return Trade(at, user, Decimal(amount))
