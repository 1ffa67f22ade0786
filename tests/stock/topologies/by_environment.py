"""Parallelism that depends on the environment."""

from bolts.counting import WordCountBolt
from spouts.verses import WordSpout
from streamparse import Topology


class ByEnvironment(Topology):
    config = {"stock.words": 5, "topology.workers": 2}
    words = WordSpout.spec()
    counts = WordCountBolt.spec(inputs=[words], par={"prod": 3, "local": 1})
