"""The trades job as a good engineer writes it by hand, without a guarantee: what `bench job` compares with.

A kill between HSET and commit counts a second of records twice; one after a crash of Redis loses some.
Run by `_trades.py`: python _expert.py BROKERS REDIS_URL GROUP. It prints a line when it begins to consume.
"""

import sys
import time

import orjson
import redis
from confluent_kafka import Consumer

brokers, redis_url, group = sys.argv[1:]
client = redis.Redis.from_url(redis_url)
client.ping()
settings = {"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest"}
settings |= {"enable.auto.commit": False, "fetch.queue.backoff.ms": 10, "queued.min.messages": 200_000}
print("consuming", flush=True)
consumer = Consumer(settings)
consumer.subscribe(["trades"])
loads, hours, dirty = orjson.loads, {}, set()
flush_at = time.monotonic() + 1
while True:
    for message in consumer.consume(10_000, 0.05):
        trade = loads(message.value())
        amount = trade["amount"]
        if amount >= 100:
            key = trade["user_id"], trade["time"] // 3_600_000
            hour = hours.get(key)
            if hour is None:
                hours[key] = [1, amount, amount, amount]
            else:
                hour[0] += 1
                hour[1] += amount
                if amount < hour[2]:
                    hour[2] = amount
                elif amount > hour[3]:
                    hour[3] = amount
            dirty.add(key)
    if time.monotonic() >= flush_at:
        if dirty:
            updates = {}
            for key in dirty:
                count, amount, smallest, largest = hours[key]
                row = {"trades": count, "amount": amount, "smallest": smallest, "largest": largest}
                row["mean"] = amount / count
                updates.setdefault(key[1], {})[key[0]] = orjson.dumps(row)
            pipeline = client.pipeline(transaction=False)
            for hour, mapping in updates.items():
                pipeline.hset(f"{group}:{hour}", mapping=mapping)
            pipeline.execute()
            dirty.clear()
            consumer.commit(asynchronous=False)
        flush_at = time.monotonic() + 1
