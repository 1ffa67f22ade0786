"""A spout that picks the receiving task."""

from bolts.counting import NoteBolt
from spouts.verses import RouterSpout
from streamparse import Grouping, Topology


class Direct(Topology):
    router = RouterSpout.spec()
    receiver = NoteBolt.spec(inputs={router["routed"]: Grouping.DIRECT}, par=2)
