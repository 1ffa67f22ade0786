"""A bolt that hangs on some of its input."""

from bolts.counting import HangingBolt, NoteBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Hanging(Topology):
    words = WordSpout.spec()
    hangs = HangingBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[hangs])
