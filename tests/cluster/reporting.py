"""What the tests of the verbs run: it counts words, says now and then what it does, and reports one error."""

from streamparse import Bolt, Grouping, Topology
from word_count.spout import WordSpout


class Reporting(Bolt):
    outputs = ["word"]

    def initialize(self, conf, context):
        self.seen = 0

    def process(self, tup):
        self.seen += 1
        if self.seen == 1:
            self.raise_exception(ValueError("the first word is no good"))
        if self.seen % 100 == 0:
            self.logger.info("noted %d words", self.seen)


class ReportingTopology(Topology):
    words = WordSpout.spec()
    reports = Reporting.spec(inputs={words: Grouping.SHUFFLE}, par=2)
