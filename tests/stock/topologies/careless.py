"""Words gathered between ticks, of a spout that gives no ids."""

from bolts.counting import BatchCountBolt, NoteBolt
from spouts.verses import CarelessSpout
from streamparse import Topology


class Careless(Topology):
    words = CarelessSpout.spec()
    batches = BatchCountBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[batches])
