"""`sparse feed` against bare producers of both clients, into the embedded broker: a million small JSON lines.

Each run is a process of its own, in turns. Of the feed the whole command is timed, its start and its first reading of
the file included; of a producer only its loop over keys and values that lie ready in memory, until all is confirmed.

    ./sparse bench feed [ROUNDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _brokers import embedded

ROWS, PARTITIONS = 1_000_000, 4
GOAL = 100_000
OF_BARE = 0.8
LIMIT_S = 300.0
SLOW = 4
"""kafka-python's producer gets so many times fewer rows: its rate is the same, and it takes its time."""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    runs: dict[str, list[float]] = {"feed": [], "confluent": [], "kafka-python": []}
    with tempfile.TemporaryDirectory(prefix="feed-") as scratch:
        folder = Path(scratch)
        (folder / "kafka").mkdir()
        file = folder / "trades.jsonl"
        with file.open("wb") as lines:
            lines.writelines(_line(number) + b"\n" for number in range(ROWS))
        with embedded(folder / "kafka") as broker:
            (folder / "project.clj").touch()
            env = {"kafka": broker.bootstrap, "redis": "embedded"}
            (folder / "config.json").write_text(json.dumps({"envs": {"bench": env}}))
            for number in range(rounds):
                kinds = list(runs) if number % 2 else list(reversed(runs))
                for kind in kinds:
                    rate = feed(folder, file, number) if kind == "feed" else bare(kind, broker.bootstrap, number)
                    print(f"{kind}: {rate:,.0f} rows/s", flush=True)
                    runs[kind].append(rate)
    rates = {kind: median(each) for kind, each in runs.items()}
    goal = min(GOAL, OF_BARE * rates["confluent"])
    ratios = [ours / peer for ours, peer in zip(runs["feed"], runs["confluent"], strict=True)]
    result = {
        "name": "feed",
        "unit": "rows/s",
        "ours": round(rates["feed"]),
        "peer": round(rates["confluent"]),
        "ratio": round(median(ratios), 2),
        "goal": round(goal),
        "met": rates["feed"] >= goal,
        "spread": [round(min(runs["feed"])), round(max(runs["feed"]))],
        "kafka_python_peer": round(rates["kafka-python"]),
    }
    print(json.dumps(result))


def _line(number: int) -> bytes:
    return b'{"user_id":%d,"time":%d,"amount":%d.25}' % (number % 5_000, 1_700_000_000_000 + number, number % 300)


def feed(project: Path, file: Path, number: int) -> float:
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "stormline.cli", "--project", str(project), "feed", str(file), f"feed-{number}"]
        + ["--key", "user_id", "--event-time", "time", "--partitions", str(PARTITIONS), "-e", "bench"],
        check=True,
        capture_output=True,
        timeout=LIMIT_S,
    )
    return ROWS / (time.monotonic() - began_s)


def bare(kind: str, bootstrap: str, number: int) -> float:
    command = [sys.executable, __file__, "--bare", kind, bootstrap, f"bare-{kind}-{number}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S).stdout)


def produce(kind: str, bootstrap: str, topic: str) -> float:
    """Rows a second."""
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.kafka import FED, ensure_topic

    ensure_topic(Brokers(bootstrap), topic, PARTITIONS, configs=FED)
    count = ROWS if kind == "confluent" else ROWS // SLOW
    rows = [(b"%d" % (number % 5_000), _line(number)) for number in range(count)]
    if kind == "confluent":
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
        began_s = time.monotonic()
        for key, value in rows:
            while True:
                try:
                    producer.produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(0.05)
        if producer.flush(LIMIT_S):
            sys.exit("not all was acknowledged")
        return count / (time.monotonic() - began_s)
    from kafka import KafkaProducer

    slow = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    began_s = time.monotonic()
    for key, value in rows:
        slow.send(topic, value, key)
    slow.flush()
    return count / (time.monotonic() - began_s)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        print(produce(*sys.argv[2:5]))
    else:
        main()
