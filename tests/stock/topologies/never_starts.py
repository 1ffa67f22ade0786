"""A bolt that cannot start."""

from bolts.counting import NeverStarts
from spouts.verses import WordSpout
from streamparse import Topology


class NeverStartsTopology(Topology):
    words = WordSpout.spec()
    never = NeverStarts.spec(inputs=[words])
