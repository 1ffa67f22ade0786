"""Words gathered by a timer in a thread."""

from bolts.counting import NoteBolt, ThreadCountBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Tickless(Topology):
    words = WordSpout.spec()
    batches = ThreadCountBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[batches])
