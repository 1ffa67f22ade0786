"""A bolt in shell between two components in Python."""

from bolts.counting import NoteBolt
from spouts.verses import WordSpout
from streamparse import ShellBolt, Topology


class Shell(Topology):
    words = WordSpout.spec()
    upper = ShellBolt.spec(command="sh", script="scripts/upper.sh", inputs=[words], outputs=["word"])
    notes = NoteBolt.spec(inputs=[upper])
