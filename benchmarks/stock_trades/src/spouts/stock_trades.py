"""Trades from Kafka, one a tuple, each with its offset as the id."""

from kafka import KafkaConsumer
from streamparse import Spout


class TradesSpout(Spout):
    outputs = ["trade"]

    def initialize(self, storm_conf, context):
        self.consumer = KafkaConsumer(
            bootstrap_servers=storm_conf["stock.kafka"],
            group_id=storm_conf["topology.name"],
            auto_offset_reset="earliest",
        )
        self.consumer.partitions_for_topic("trades")  # a group that is joined before they are known stays without them
        self.consumer.subscribe(["trades"])
        self.waiting = iter(())

    def next_tuple(self):
        record = next(self.waiting, None)
        if record is None:
            polled = self.consumer.poll(timeout_ms=10)
            self.waiting = iter([record for records in polled.values() for record in records])
        else:
            self.emit([record.value.decode()], tup_id=f"{record.partition}/{record.offset}")
