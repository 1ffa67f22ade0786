"""Ticks turned into tuples."""

from bolts.counting import NoteBolt, TickBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Ticks(Topology):
    words = WordSpout.spec()
    ticks = TickBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[ticks])
