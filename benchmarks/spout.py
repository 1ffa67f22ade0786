"""The spout alone against a bare loop of the same client: fetch, decode to a Struct, batch, ack at once, commit.

One topic of Apache Kafka with four partitions is read again and again, in turns, each time by a process of its own with
one client. The bare loop polls and decodes with msgspec, and does nothing else: no batches, no acks, no commits. The
spout runs in the engine with the embedded Redis, and what it emits is acked at once. Time runs from the first record
to the last one (acked); CPU is that of the process. Ratios are those of neighbouring runs; the first round does not
count.

    ./sparse bench spout [ROUNDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from _brokers import apache

from stormline.embedded.servers import EmbeddedServers

TOPIC, PARTITIONS = "spout", 4
RECORDS = {"kafka-python": 400_000, "confluent": 1_600_000}
"""Client -> how many are read, from the beginning: a second or two of each."""
GOALS = {"kafka-python": 0.8, "confluent": 0.7}
LIMIT_S = 180.0


class Measured(NamedTuple):
    records_per_s: float
    cpu_s_per_million: float


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="spout-") as scratch:
        folder = Path(scratch)
        (folder / "kafka").mkdir()
        with apache(folder / "kafka") as kafka, EmbeddedServers.start(folder / "redis", redis_only=True) as servers:
            for client, count in RECORDS.items():
                fill(kafka.bootstrap, f"{TOPIC}-{client}", count)
            runs: dict[str, list[tuple[Measured, Measured]]] = {client: [] for client in RECORDS}
            for number in range(rounds + 1):
                for client in RECORDS:
                    how = ("spout", "bare") if number % 2 else ("bare", "spout")
                    at = [kafka.bootstrap, servers.redis_url, client, str(number)]
                    by_kind = {kind: run(kind, *at) for kind in how}
                    for kind, measured in by_kind.items():
                        told = f"{measured.records_per_s:,.0f} records/s, {measured.cpu_s_per_million:.2f} s of CPU"
                        what = f"round {number}" if number else "warm-up"
                        print(f"{what}: {client}, {kind}: {told} a million", flush=True)
                    if number:
                        runs[client].append((by_kind["spout"], by_kind["bare"]))
    print(json.dumps(verdict(runs)))


def verdict(runs: dict[str, list[tuple[Measured, Measured]]]) -> dict[str, object]:
    result: dict[str, object] = {"name": "spout", "unit": "records/s"}
    met = True
    for client, pairs in runs.items():
        of = "" if client == "kafka-python" else f"{client}_"
        ratios = [ours.records_per_s / peer.records_per_s for ours, peer in pairs]
        met = met and median(ratios) >= GOALS[client]
        result |= {
            f"{of}ours": round(median(ours.records_per_s for ours, _ in pairs)),
            f"{of}peer": round(median(peer.records_per_s for _, peer in pairs)),
            f"{of}ratio": round(median(ratios), 2),
            f"{of}goal": GOALS[client],
            f"{of}spread": [round(min(ratios), 2), round(max(ratios), 2)],
            f"{of}cpu_s_per_million": round(median(ours.cpu_s_per_million for ours, _ in pairs), 2),
            f"{of}peer_cpu_s_per_million": round(median(peer.cpu_s_per_million for _, peer in pairs), 2),
        }
    return result | {"met": met}


def fill(bootstrap: str, topic: str, count: int) -> None:
    """Trades as the feed writes them, round robin over the partitions."""
    from confluent_kafka import Producer

    from stormline.connectors.brokers import Brokers
    from stormline.connectors.kafka import FED, ensure_topic

    ensure_topic(Brokers(bootstrap), topic, PARTITIONS, configs=FED)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    for number in range(count):
        value = b'{"user_id":%d,"time":%d,"amount":%d.25}' % (number % 5_000, 1_700_000_000_000 + number, number % 300)
        while True:
            try:
                producer.produce(topic, value, b"%d" % (number % 5_000), partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(LIMIT_S):
        sys.exit("not all was acknowledged")


def run(kind: str, *arguments: str) -> Measured:
    """One of the two in a new process."""
    program = Path(__file__).with_name("_spout_runs.py")
    command = [sys.executable, str(program), kind, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if ended.returncode:
        sys.exit(f"{kind} {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}")
    return Measured(*map(float, ended.stdout.split()))


if __name__ == "__main__":
    main()
