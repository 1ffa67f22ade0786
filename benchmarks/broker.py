"""The embedded broker against Apache Kafka on the same machine: produce, consume, and the memory of a large log.

Both run all the time. Each round writes one new topic of each and reads it, in turns, with the same client in a process
of its own; ratios are those of neighbouring runs. A round that does not count warms them up. Then 1 GB is written to
the embedded broker and read again, while its memory (PSS) is sampled.

    ./sparse bench broker [ROUNDS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from _brokers import Broker, apache, embedded

PARTITIONS, VALUE_BYTES = 4, 100
RECORDS = {"produce": 600_000, "consume": 600_000, "consume_kafka_python": 200_000}
"""The second client reads the first part of what the first one reads."""
GOALS = {"produce": 0.5, "consume": 0.8, "consume_kafka_python": 0.8}
LARGE_RECORDS, LARGE_VALUE_BYTES = 1_000_000, 1_000
MEMORY_GOAL_MB = 150.0
SAMPLE_EVERY_S = 0.25
LIMIT_S = 180.0


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="broker-") as scratch:
        (Path(scratch) / "own").mkdir()
        (Path(scratch) / "peer").mkdir()
        with embedded(Path(scratch) / "own") as own, apache(Path(scratch) / "peer") as peer:
            runs: dict[str, list[dict[str, float]]] = {own.name: [], peer.name: []}
            for number in range(rounds + 1):
                order = (own, peer) if number % 2 else (peer, own)
                for broker in order:
                    measured = one_round(broker, f"round-{number}")
                    if number:
                        runs[broker.name].append(measured)
                    told = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in measured.items())
                    print(f"{'round' if number else 'warm-up'} {number}: {broker.name}: {told} records/s", flush=True)
            peak_mb = large_log(own)
    print(json.dumps(verdict(runs[own.name], runs[peer.name], peak_mb, rounds)))


def one_round(broker: Broker, topic: str) -> dict[str, float]:
    """Records a second by what was done."""
    return {kind: client(kind, broker.bootstrap, topic, count, VALUE_BYTES) for kind, count in RECORDS.items()}


def client(kind: str, bootstrap: str, topic: str, count: int, size: int) -> float:
    """Run one of the functions below in a new process, and give the rate that it measured."""
    command = [sys.executable, __file__, "--client", kind, bootstrap, topic, str(count), str(size)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if ended.returncode:
        sys.exit(f"{kind} at {bootstrap}:\n{ended.stdout}{ended.stderr}")
    return float(ended.stdout.split()[-1])


def produce(bootstrap: str, topic: str, count: int, size: int) -> float:
    """Round robin over the partitions, from the first call until all is acknowledged."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result()
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 2_000_000}
    producer = Producer(settings | {"queue.buffering.max.kbytes": 200_000})
    value = os.urandom(size)
    producer.list_topics(topic)
    began = time.monotonic()
    for number in range(count):
        while True:
            try:
                producer.produce(topic, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(LIMIT_S):
        sys.exit("not all was acknowledged")
    return count / (time.monotonic() - began)


def consume(bootstrap: str, topic: str, count: int, size: int) -> float:
    """From the first record on to the last one."""
    from confluent_kafka import Consumer, TopicPartition

    settings = {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False}
    consumer = Consumer(settings | {"auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    seen = len(consumer.consume(1, LIMIT_S))
    began = time.monotonic()
    while seen < count:
        seen += len(consumer.consume(10_000, 1))
    took_s = time.monotonic() - began
    consumer.close()
    return count / took_s


def consume_kafka_python(bootstrap: str, topic: str, count: int, size: int) -> float:
    """As `consume`, with the client that Stormline uses where the other one is not installed."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_poll_records=5_000, enable_auto_commit=False
    )
    consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    seen = sum(map(len, consumer.poll(int(LIMIT_S * 1000)).values()))
    first, began = seen, time.monotonic()
    while seen < count:
        seen += sum(map(len, consumer.poll(1000).values()))
    took_s = time.monotonic() - began
    consumer.close()
    return (seen - first) / took_s


def large_log(broker: Broker) -> float:
    """The highest PSS of the broker in MB while 1 GB is written and read."""
    peak = Peak(broker.pid)
    for kind in ("produce", "consume"):
        rate = client(kind, broker.bootstrap, "large", LARGE_RECORDS, LARGE_VALUE_BYTES)
        print(f"1 GB: {kind} {rate:,.0f} records/s", flush=True)
    return peak.stop()


class Peak:
    """The highest PSS of a process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._highest_mb = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return round(self._highest_mb, 1)

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_EVERY_S):
            text = Path(f"/proc/{self._pid}/smaps_rollup").read_text()
            pss_kb = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
            self._highest_mb = max(self._highest_mb, pss_kb / 1024)


def verdict(
    own: list[dict[str, float]], peer: list[dict[str, float]], peak_mb: float, rounds: int
) -> dict[str, object]:
    ratios = {kind: [a[kind] / b[kind] for a, b in zip(own, peer, strict=True)] for kind in RECORDS}
    met = {kind: median(ratios[kind]) >= goal for kind, goal in GOALS.items()} | {"memory": peak_mb < MEMORY_GOAL_MB}
    consumed = ratios["consume"]
    return {
        "name": "broker",
        "unit": "records/s",
        "ours": round(median(run["consume"] for run in own)),
        "peer": round(median(run["consume"] for run in peer)),
        "ratio": round(median(consumed), 2),
        "goal": GOALS["consume"],
        "met": all(met.values()),
        "spread": [round(min(consumed), 2), round(max(consumed), 2)],
        **{
            f"{kind}_{what}": round(value, digits)
            for kind in ("produce", "consume_kafka_python")
            for what, value, digits in (
                ("ours", median(run[kind] for run in own), None),
                ("peer", median(run[kind] for run in peer), None),
                ("ratio", median(ratios[kind]), 2),
                ("goal", GOALS[kind], 2),
            )
        },
        "pss_mb_with_1_gb": peak_mb,
        "pss_goal_mb": MEMORY_GOAL_MB,
        "not_met": [name for name, is_met in met.items() if not is_met],
        "rounds": rounds,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        kind, bootstrap, topic, count, size = sys.argv[2:]
        client_of = {"produce": produce, "consume": consume, "consume_kafka_python": consume_kafka_python}
        print(client_of[kind](bootstrap, topic, int(count), int(size)))
    else:
        main()
