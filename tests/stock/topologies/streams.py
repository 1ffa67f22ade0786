"""A bolt with several streams, which asks where its tuples went."""

from bolts.counting import NoteBolt, SplitBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Streams(Topology):
    words = WordSpout.spec()
    split = SplitBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[split["long"], split["short"], split["went"]])
