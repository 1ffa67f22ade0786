"""The word count, kept in a Redis."""

from bolts.counting import NoteBolt, RedisCountBolt
from spouts.verses import WordSpout
from streamparse import Grouping, Topology


class RedisWordCount(Topology):
    words = WordSpout.spec()
    counts = RedisCountBolt.spec(inputs={words: Grouping.fields("word")}, par=2)
    notes = NoteBolt.spec(inputs=[counts])
