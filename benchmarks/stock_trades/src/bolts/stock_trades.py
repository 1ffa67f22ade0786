"""Large trades, and what each user traded in each hour; Redis is written once a second."""

import json

import redis
from streamparse import Bolt

HOUR_MS = 3_600_000


class LargeTradesBolt(Bolt):
    outputs = ["user_id", "hour", "amount"]

    def process(self, tup):
        trade = json.loads(tup.values[0])
        if trade["amount"] >= 100:
            self.emit([trade["user_id"], trade["time"] // HOUR_MS, trade["amount"]])


class HourlyAmountsBolt(Bolt):
    def initialize(self, storm_conf, context):
        self.redis = redis.Redis.from_url(storm_conf["stock.redis"])
        self.prefix = storm_conf["topology.name"]
        self.hours = {}
        self.dirty = set()

    def process(self, tup):
        user_id, hour, amount = tup.values
        key = user_id, hour
        if key in self.hours:
            trades, total, smallest, largest = self.hours[key]
            self.hours[key] = trades + 1, total + amount, min(smallest, amount), max(largest, amount)
        else:
            self.hours[key] = 1, amount, amount, amount
        self.dirty.add(key)

    def process_tick(self, tup):
        pipeline = self.redis.pipeline(transaction=False)
        for user_id, hour in self.dirty:
            trades, total, smallest, largest = self.hours[user_id, hour]
            row = {"trades": trades, "amount": total, "smallest": smallest, "largest": largest, "mean": total / trades}
            pipeline.hset(f"{self.prefix}:{hour}", user_id, json.dumps(row))
        pipeline.execute()
        self.dirty.clear()
