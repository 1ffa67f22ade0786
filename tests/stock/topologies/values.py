"""Values that JSON changes on the way."""

from bolts.counting import NoteBolt
from spouts.verses import ValueSpout
from streamparse import Topology


class Values(Topology):
    values = ValueSpout.spec()
    notes = NoteBolt.spec(inputs=[values])
