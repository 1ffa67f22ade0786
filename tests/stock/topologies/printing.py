"""A bolt that prints."""

from bolts.counting import NoteBolt, PrintBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Printing(Topology):
    words = WordSpout.spec()
    prints = PrintBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[prints])
