"""A bolt that raises, and goes on."""

from bolts.counting import NoteBolt, PatientBolt
from spouts.verses import WordSpout
from streamparse import Topology


class Patient(Topology):
    words = WordSpout.spec()
    patient = PatientBolt.spec(inputs=[words])
    notes = NoteBolt.spec(inputs=[patient])
