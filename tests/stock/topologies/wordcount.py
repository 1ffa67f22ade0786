"""The word count, with several tasks."""

from bolts.counting import NoteBolt, WordCountBolt
from spouts.verses import WordSpout
from streamparse import Grouping, Topology


class WordCount(Topology):
    words = WordSpout.spec()
    counts = WordCountBolt.spec(inputs={words: Grouping.fields("word")}, par=2)
    notes = NoteBolt.spec(inputs={counts: Grouping.GLOBAL})
