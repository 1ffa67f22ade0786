"""A spout that replays by itself, above a bolt that fails one tuple."""

from bolts.counting import ManualBolt, NoteBolt
from spouts.verses import SureSpout
from streamparse import Topology


class Reliable(Topology):
    words = SureSpout.spec()
    manual = ManualBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[manual])
