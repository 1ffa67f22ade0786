"""A bolt that raises on some of its input."""

from bolts.counting import BrokenBolt, NoteBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Broken(Topology):
    words = WordSpout.spec()
    broken = BrokenBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[broken])
