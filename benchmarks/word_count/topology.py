"""The stock word count: a spout, two bolt tasks, one tuple a `next`, ids, anchors, acks; no import of stormline."""

from streamparse import Grouping, Topology
from word_count.bolt import WordCountBolt
from word_count.spout import WordSpout


class WordCount(Topology):
    config = {"topology.max.spout.pending": 1000}
    words = WordSpout.spec()
    counts = WordCountBolt.spec(inputs={words: Grouping.fields("word")}, par=2)
