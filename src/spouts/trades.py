"""Trades of a platform's users, as they stand in the Kafka topic `trades`."""

from decimal import Decimal

from stormline import KafkaSpout, Record


class Trade(Record):
    time: int
    """In ms since the epoch."""
    user_id: int
    amount: Decimal


class Trades(KafkaSpout):
    topic = "trades"
    schema = Trade
    event_time = "time"
    out_of_order = "5s"
