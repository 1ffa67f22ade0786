"""Bolts that count words, in as many ways as streamparse has."""

import os
import signal
from collections import Counter

from spouts.verses import note
from streamparse import BatchingBolt, Bolt, Stream, TicklessBatchingBolt


class WordCountBolt(Bolt):
    """Counts in memory and sends the count so far."""

    outputs = ["word", "count"]

    def initialize(self, conf, ctx):
        self.counts = Counter()
        self.conf = conf

    def process(self, tup):
        word = tup.values.word
        self.counts[word] += 1
        self.emit([word, self.counts[word]])


class NoteBolt(Bolt):
    """Writes down whatever comes: task, source, stream, values."""

    def initialize(self, conf, ctx):
        self.conf = conf

    def process(self, tup):
        note(self.conf, "noted", f"{self.task_id} {tup.component} {tup.stream} {list(tup.values)!r}")


class RedisCountBolt(Bolt):
    """Counts in a Redis."""

    outputs = ["word", "count"]

    def initialize(self, conf, ctx):
        from redis import Redis

        self.redis = Redis.from_url(conf["stock.redis"])

    def process(self, tup):
        (word,) = tup.values
        count = self.redis.zincrby("words", 1, word)
        self.emit([word, int(count)])
        self.logger.info("counted %s: %d", word, count)


class BatchCountBolt(BatchingBolt):
    """Gathers for a tick or two, then sends one count a word."""

    outputs = ["word", "count"]
    config = {"topology.tick.tuple.freq.secs": 1}

    def group_key(self, tup):
        return tup.values.word

    def process_batch(self, key, tups):
        self.emit([key, len(tups)])


class ThreadCountBolt(TicklessBatchingBolt):
    """Gathers by a timer of its own, in a thread."""

    outputs = ["word", "count"]
    secs_between_batches = 0.2

    def group_key(self, tup):
        return tup.values.word

    def process_batch(self, key, tups):
        self.emit([key, len(tups)])


class TickBolt(Bolt):
    """Sends the time between ticks whenever one comes."""

    outputs = ["seconds"]
    config = {"topology.tick.tuple.freq.secs": 1}

    def process(self, tup):
        pass

    def process_tick(self, tick):
        self.emit(list(tick.values))


class SplitBolt(Bolt):
    """Long words and short words on streams of their own; tells to which task each went."""

    outputs = [
        Stream(fields=["word"], name="long"),
        Stream(fields=["word", "length"], name="short"),
        Stream(fields=["task"], name="went"),
    ]

    def process(self, tup):
        word = tup.values.word
        if len(word) > 3:
            tasks = self.emit([word], stream="long", need_task_ids=True)
        else:
            tasks = self.emit([word, len(word)], stream="short", need_task_ids=True)
        self.emit([tasks[0]], stream="went", anchors=[tup.id])


class ManualBolt(Bolt):
    """Does by hand what streamparse does by itself: fails the first attempt at "dog", acks everything else."""

    outputs = ["word"]
    auto_ack = False
    auto_anchor = False

    def initialize(self, conf, ctx):
        self.refused = False

    def process(self, tup):
        if tup.values.word == "dog" and not self.refused:
            self.refused = True
            self.fail(tup)
            return
        self.emit(tup.values, anchors=[tup])
        self.ack(tup)


class OwnWayBolt(Bolt):
    """Overrides what streamparse does to emit and to ack."""

    outputs = ["word", "source"]

    def emit(self, tup, **kwargs):
        return super().emit([tup[0].upper(), self.component_name], **kwargs)

    def ack(self, tup):
        self.log(f"acking {tup.values[0]}", level="debug")
        super().ack(tup)

    def process(self, tup):
        self.emit(tup.values)


class PrintBolt(Bolt):
    """Prints, as one does."""

    outputs = ["word"]

    def process(self, tup):
        print("I saw", tup.values.word)
        os.write(1, b"and so did I\n") if self.storm_conf.get("stock.write") else None
        self.logger.warning("logged %s", tup.values.word)
        self.emit(tup.values)


class BytesBolt(Bolt):
    """Emits what JSON cannot hold, for one of the words."""

    outputs = ["word", "raw"]

    def process(self, tup):
        self.emit([tup.values.word, b"\xff\xfe" if tup.values.word == "dog" else "fine"])


class BrokenBolt(Bolt):
    """Raises on one of the words, each time."""

    outputs = ["word"]

    def process(self, tup):
        if tup.values.word == "dog":
            raise ValueError("no dogs")
        self.emit(tup.values)


class HangingBolt(Bolt):
    """Never comes back from one of the words."""

    outputs = ["word"]

    def process(self, tup):
        while tup.values.word == "dog":
            signal.pause()
        self.emit(tup.values)


class HoldingBolt(Bolt):
    """Neither acks nor fails anything."""

    outputs = ["word"]
    auto_ack = False

    def process(self, tup):
        note(self.storm_conf, "held", tup.values.word)


class PatientBolt(BrokenBolt):
    """The same, and goes on."""

    exit_on_exception = False


class NeverStarts(Bolt):
    """Dies before its first tuple."""

    def initialize(self, conf, ctx):
        raise RuntimeError("no such table: words")
