"""Purchases of a shop's customers, as they stand in the Kafka topic `purchases`."""

from datetime import date
from decimal import Decimal

from stormline import KafkaSpout, Record


class Purchase(Record):
    date: date
    amount: Decimal
    user_id: int
    items: int


class Purchases(KafkaSpout):
    topic = "purchases"
    schema = Purchase
    event_time = "date"
