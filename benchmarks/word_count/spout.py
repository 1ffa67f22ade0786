"""Words for ever, one a `next_tuple`, each with an id."""

from itertools import count, cycle

from streamparse import Spout

TEXT = "the quick brown fox jumps over the lazy dog and then the dog sleeps on while the fox runs away"


class WordSpout(Spout):
    outputs = ["word"]

    def initialize(self, storm_conf, context):
        self.words = cycle(TEXT.split())
        self.ids = count()

    def next_tuple(self):
        self.emit([next(self.words)], tup_id=str(next(self.ids)))
