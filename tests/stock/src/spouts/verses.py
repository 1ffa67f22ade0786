"""Spouts that say a given text, one tuple at a time, and note what became of it in files."""

import os
from itertools import cycle

from streamparse import ReliableSpout, Spout, Stream

TEXT = "the cat and the dog and the bird"


def note(conf, name, line):
    """One line in a file of the folder that the topology's configuration names."""
    folder = conf.get("stock.notes")
    if folder:
        with open(os.path.join(folder, name), "a") as notes:
            notes.write(f"{line}\n")


class WordSpout(Spout):
    """Emits `stock.words` words of the text in turn, each under its number."""

    outputs = ["word"]

    def initialize(self, storm_conf, context):
        self.words = cycle(TEXT.split())
        self.left = storm_conf.get("stock.words", 100)
        self.number = 0
        self.conf = storm_conf

    def activate(self):
        note(self.conf, "activated", self.task_id)

    def next_tuple(self):
        if self.number >= self.left:
            return
        self.number += 1
        self.emit([next(self.words)], tup_id=self.number)

    def ack(self, tup_id):
        note(self.conf, "acked", tup_id)

    def fail(self, tup_id):
        note(self.conf, "failed", tup_id)


class CarelessSpout(WordSpout):
    """The same without ids: nobody tracks its tuples."""

    def next_tuple(self):
        if self.number < self.left:
            self.number += 1
            self.emit([next(self.words)])
            note(self.conf, "emitted", self.number)


class FastWordSpout(WordSpout):
    """The same without notes, and without an end."""

    def next_tuple(self):
        self.number += 1
        self.emit([next(self.words)], tup_id=self.number)

    def ack(self, tup_id):
        pass


class SureSpout(ReliableSpout):
    """Leaves replays to streamparse."""

    outputs = ["word"]

    def initialize(self, storm_conf, context):
        self.waiting = [(number, word) for number, word in enumerate(TEXT.split())]
        self.conf = storm_conf

    def next_tuple(self):
        if self.waiting:
            number, word = self.waiting.pop(0)
            self.emit([word], tup_id=f"word-{number}")

    def ack(self, tup_id):
        note(self.conf, "acked", tup_id)
        super().ack(tup_id)


class RouterSpout(Spout):
    """Sends each number to a task it picks itself, on a direct stream."""

    outputs = [Stream(fields=["number"], name="routed", direct=True)]

    def initialize(self, storm_conf, context):
        names = context["task->component"]
        self.targets = sorted(int(task) for task, name in names.items() if name == "receiver")
        self.number = 0

    def next_tuple(self):
        if self.number < 20:
            target = self.targets[self.number % 2 == 0]
            answered = self.emit(
                [self.number], tup_id=self.number, stream="routed", direct_task=target, need_task_ids=True
            )
            assert answered == [target], answered
            self.number += 1


class ValueSpout(Spout):
    """Emits values of all kinds that JSON changes on the way."""

    outputs = ["value"]

    def initialize(self, storm_conf, context):
        self.conf = storm_conf
        self.values = [(1, 2), {3: None}, 0.1, "zażółć 😀", 2**70, [True, [None]]]

    def next_tuple(self):
        if self.values:
            self.emit([self.values.pop(0)], tup_id=len(self.values))
