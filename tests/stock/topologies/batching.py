"""Words gathered between ticks."""

from bolts.counting import BatchCountBolt, NoteBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Batching(Topology):
    words = WordSpout.spec()
    batches = BatchCountBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[batches])
