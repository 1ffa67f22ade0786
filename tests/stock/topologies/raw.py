"""A bolt that emits bytes."""

from bolts.counting import BytesBolt, NoteBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Raw(Topology):
    words = WordSpout.spec()
    raw = BytesBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[raw])
