"""A bolt that holds whatever it gets."""

from bolts.counting import HoldingBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Held(Topology):
    config = {"topology.acker.executors": 1}
    words = WordSpout.spec()
    held = HoldingBolt.spec(inputs=[words])
