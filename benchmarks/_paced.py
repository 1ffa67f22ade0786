"""Trades into a topic at a steady rate, with a probe among them twenty times a second, for as long as it is let.

Run by `_paced_runs.py`: python _paced.py BROKERS TOPIC PARTITIONS RECORDS_PER_S. A line for each probe: its user, its
time in ms, and the clock (monotonic, in s) when it was given to the producer.
"""

import sys
import time
from itertools import count
from pathlib import Path

from confluent_kafka import Producer

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from oracle import trades  # noqa: E402

SEED = 7
PROBES_PER_S = 20
FIRST_PROBE = 1_000_000
"""Far from the users of the generator: a probe is the only trade of its user."""

brokers, topic = sys.argv[1:3]
partitions, rate = int(sys.argv[3]), float(sys.argv[4])
producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
rows = trades.generated(1_000_000_000, SEED)
started, sent = time.monotonic(), 0
for probe in count():
    due = started + (probe + 1) / PROBES_PER_S
    for number in range(sent, round((probe + 1) * rate / PROBES_PER_S)):
        key, value, time_ms = next(rows)
        producer.produce(topic, value, key, partition=number % partitions)
    sent = round((probe + 1) * rate / PROBES_PER_S)
    user = FIRST_PROBE + probe
    value = b'{"id":0,"time":%d,"user_id":%d,"amount":100.00}' % (time_ms, user)
    now = time.monotonic()
    producer.produce(topic, value, b"%d" % user, partition=probe % partitions)
    producer.poll(0)
    print(user, time_ms, now, flush=True)
    if due > time.monotonic():
        time.sleep(due - time.monotonic())
