"""A bolt that overrides emit and ack."""

from bolts.counting import NoteBolt, OwnWayBolt
from spouts.verses import WordSpout
from streamparse import Topology


class OwnWay(Topology):
    words = WordSpout.spec()
    own = OwnWayBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[own])
