"""What `bench spout` measures, each in a process of its own: python _spout_runs.py KIND BROKERS REDIS_URL CLIENT ROUND.

Prints records a second, and seconds of CPU a million records, from the first record on.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import msgspec
from spout import PARTITIONS, RECORDS, TOPIC
from streamparse import Topology

from stormline import FilterBolt, KafkaSpout, Record
from stormline.cli.hosting import edges
from stormline.components.graph import slots, version
from stormline.components.host import Tuple
from stormline.components.keys import SLOTS_KEY
from stormline.connectors.brokers import Brokers
from stormline.connectors.redis import begin_run, connect
from stormline.core.status import Status
from stormline.engine.clock import WallClock
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology
from stormline.engine.worker import Worker
from stormline.multilang.interpreter import tune


class Trade(Record):
    user_id: int
    time: int
    amount: float


class Trades(KafkaSpout):
    topic = TOPIC
    schema = Trade
    event_time = "time"


class Below(FilterBolt):
    """Stands in the topology for whoever takes the batches; in its place runs `Sink`."""

    def keep(self, trade: Trade) -> bool:
        raise AssertionError("it does not run")


class Reading(Topology):
    trades = Trades.spec()
    below = Below.spec(inputs=[trades])


class Sink:
    """Acks, and counts."""

    due_ms = None

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def prepare(self, host: Any) -> None:
        self._host = host

    def execute(self, tup: Tuple) -> None:
        self._host.ack(tup)
        self._meter.add(len(tup.values.records.offsets))

    def status(self) -> Status:
        return Status(settled=True)

    def on_time(self, now_ms: int) -> None:
        """No timers."""

    def close(self) -> None:
        """Nothing to close."""


class Meter:
    """Runs from the first records, which do not count, to the last one."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._counted = -1

    def add(self, records: int) -> None:
        self._left -= records
        if self._counted < 0:
            self._counted = self._left
            self._began_s, self._began_cpu_s = time.monotonic(), time.process_time()
        elif self._left == 0:
            self._ended_s, self._ended_cpu_s = time.monotonic(), time.process_time()

    @property
    def done(self) -> bool:
        return self._left <= 0

    def tell(self) -> None:
        millions = self._counted / 1e6
        rate = self._counted / (self._ended_s - self._began_s)
        print(rate, (self._ended_cpu_s - self._began_cpu_s) / millions)


def spout(brokers: Brokers, redis_url: str, topic: str, name: str, meter: Meter) -> None:
    tune()
    Trades.topic = topic
    read = read_topology(Reading)
    trades, below = read.components
    topology = replace(read, components=(trades, replace(below, make=lambda: Sink(meter))))
    with connect(redis_url) as client:
        conf: dict[str, Any] = {"stormline.app": name, SLOTS_KEY: slots(Reading)}
        conf |= {"stormline.run": begin_run(client, name, version(Reading), None, {})}
    conf |= {"stormline.kafka": brokers.conf(), "stormline.redis": redis_url}
    deployment = Deployment(topology, name=name, conf=conf)
    worker = Worker(deployment, edges=edges(deployment.conf), clock=WallClock(), seed=None)
    worker.start()
    worker.run(lambda: meter.done)
    meter.tell()
    worker.close()


def bare(brokers: Brokers, topic: str, meter: Meter) -> None:
    decode = msgspec.json.Decoder(Trade).decode
    settings = {"group.id": "bare", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    if brokers.client == "confluent":
        from confluent_kafka import Consumer, TopicPartition

        fetches = {"fetch.queue.backoff.ms": 10, "queued.min.messages": 200_000}
        consumer: Any = Consumer({"bootstrap.servers": str(brokers), **settings, **fetches})
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        while not meter.done:
            messages = consumer.consume(500, 1)
            for message in messages:
                decode(message.value())
            meter.add(len(messages))
    else:
        import kafka

        consumer = kafka.KafkaConsumer(bootstrap_servers=str(brokers), enable_auto_commit=False)
        addresses = [kafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(addresses)
        consumer.seek_to_beginning(*addresses)
        while not meter.done:
            for records in consumer.poll(1_000).values():
                for record in records:
                    decode(record.value)
                meter.add(len(records))
    meter.tell()


if __name__ == "__main__":
    kind, at, url, client, number = sys.argv[1:]
    started = Meter(RECORDS[client])
    if kind == "spout":
        spout(Brokers(at, client), url, f"{TOPIC}-{client}", f"spout-{client}-{number}", started)
    else:
        bare(Brokers(at, client), f"{TOPIC}-{client}", started)
