"""Trades from Kafka, one a tuple, each with its offset as the id."""

from kafka import KafkaConsumer
from streamparse import Spout


class TradesSpout(Spout):
    outputs = ["trade"]

    def initialize(self, storm_conf, context):
        self.consumer = KafkaConsumer(
            "trades",
            bootstrap_servers=storm_conf["stock.kafka"],
            group_id=storm_conf["topology.name"],
            auto_offset_reset="earliest",
            metadata_max_age_ms=1_000,  # who joins before the topic is known looks again after this time, 5 min by default
        )
        self.waiting = iter(())

    def next_tuple(self):
        record = next(self.waiting, None)
        if record is None:
            polled = self.consumer.poll(timeout_ms=10)
            self.waiting = iter([record for records in polled.values() for record in records])
        else:
            self.emit([record.value.decode()], tup_id=f"{record.partition}/{record.offset}")
