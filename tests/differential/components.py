"""Stock streamparse components that do as they are told and write down what they see. No import of stormline.

Each task appends JSON lines to DIRECTORY/TASK.jsonl (`differential.directory` of the conf), each with `at_ms` (epoch),
`component` and `task`. The first line is the handshake.
"""

import json
import os
import time

from streamparse import Bolt, Spout, Stream


class Notes:
    """What a task writes down; mixed into stock components."""

    def initialize(self, storm_conf, context):
        self.directory = storm_conf["differential.directory"]
        self.notes = open(os.path.join(self.directory, f"{self.task_id}.jsonl"), "a", encoding="utf-8")  # noqa: SIM115
        self.note("handshake", conf=storm_conf, context=context, pid=os.getpid())

    def note(self, what, **more):
        line = {"at_ms": int(time.time() * 1000), "component": self.component_name, "task": self.task_id, "what": what}
        self.notes.write(json.dumps({**line, **more}) + "\n")
        self.notes.flush()

    def told(self, name):
        """What the recorder has put into DIRECTORY as NAME.json; None if it is not there (yet)."""
        try:
            with open(os.path.join(self.directory, f"{name}.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None


class ScriptSpout(Notes, Spout):
    """Emits the tuples of one pattern a `next`: ids PATTERN.N, values (pattern, path, script as JSON)."""

    outputs = ["pattern", "path", "script"]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        self.left = list(enumerate(self.told("patterns")))[::-1]

    def next_tuple(self):
        if self.left:
            number, scripts = self.left.pop()
            for index, script in enumerate(scripts):
                name = f"{number}.{index}"
                self.note("emit", id=name)
                self.emit([number, name, json.dumps(script)], tup_id=name)

    def ack(self, tup_id):
        self.note("ack", id=tup_id)

    def fail(self, tup_id):
        self.note("fail", id=tup_id)


class ScriptBolt(Notes, Bolt):
    """Does the actions of the tuple's script, which `patterns.py` describes."""

    auto_ack = auto_anchor = auto_fail = False
    outputs = [
        Stream(["pattern", "path", "script"]),
        Stream(["pattern", "path", "script"], name="wide"),
        Stream(["pattern", "path", "script"], name="one"),
        Stream(["pattern", "path", "script"], name="nobody"),
    ]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        self.held = {}

    def process(self, tup):
        pattern, path, script = tup.values
        self.note("got", path=path, stream=tup.stream, source=tup.component)
        who = {"self": tup, "held": self.held.get(pattern), "unknown": "no-such-id"}
        for number, (verb, *arguments) in enumerate(json.loads(script)):
            if verb == "hold":
                self.held[pattern] = tup
            elif verb == "ack":
                self.ack(who[arguments[0]])
            elif verb == "fail":
                self.fail(who[arguments[0]])
            elif verb == "emit":
                stream, anchors, child = arguments
                values = [pattern, f"{path}/{number}", json.dumps(child)]
                tasks = self.emit(
                    values, stream=stream, anchors=[who[anchor] for anchor in anchors], need_task_ids=True
                )
                self.note("emit", path=values[1], stream=stream, tasks=tasks)


class GroupingSpout(Notes, Spout):
    """Emits each of the told values on each of the told streams, one a `next`, and notes the task ids."""

    outputs = [Stream(["key", "other"], name=name) for name in ("fields", "both", "partial", "all", "global")] + [
        Stream(["key", "other"], name=name) for name in ("shuffle", "none", "local", "two", "nobody", "default")
    ]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        emits = self.told("emits")
        self.left = [(stream, values) for stream in emits["streams"] for values in emits["values"]][::-1]

    def next_tuple(self):
        if self.left:
            stream, values = self.left.pop()
            tasks = self.emit(values, tup_id=str(len(self.left)), stream=stream, need_task_ids=True)
            self.note("emit", stream=stream, values=values, tasks=tasks, order=len(self.left))

    def fail(self, tup_id):
        self.note("fail", id=tup_id)


class DirectSpout(Notes, Spout):
    """Emits to each task of the component `direct` on its direct stream, three times round."""

    outputs = [Stream(["n"], name="direct", direct=True)]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        tasks = [int(task) for task, name in context["task->component"].items() if name == "direct"]
        self.left = sorted(tasks) * 3

    def next_tuple(self):
        if self.left:
            task = self.left.pop()
            self.note("emit", tasks=[task])
            self.emit([len(self.left)], tup_id=str(len(self.left)), stream="direct", direct_task=task)

    def ack(self, tup_id):
        self.note("ack", id=tup_id)

    def fail(self, tup_id):
        self.note("fail", id=tup_id)


class SilentSpout(Notes, Spout):
    """Emits nothing."""

    outputs = ["value"]

    def next_tuple(self):
        pass


class NotingBolt(Notes, Bolt):
    """Notes what it gets, ticks too, and acks it (stock behaviour)."""

    outputs = ["value"]

    def process(self, tup):
        self.note("got", values=list(tup.values), stream=tup.stream, source=tup.component, source_task=tup.task)

    def process_tick(self, tup):
        self.note(
            "tick", id=tup.id, values=list(tup.values), stream=tup.stream, source=tup.component, source_task=tup.task
        )


class CallbackSpout(Notes, Spout):
    """Notes every call; emits two tuples a `next` until forty are out. Empty calls are noted by their number."""

    outputs = ["n"]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        self.emitted = self.empty = 0

    def _call(self, what, **more):
        if self.empty:
            self.note("next", emitted=[], times=self.empty)
            self.empty = 0
        self.note(what, **more)

    def next_tuple(self):
        if self.emitted >= 40:
            self.empty += 1
            return
        names = [str(self.emitted), str(self.emitted + 1)]
        self.emitted += 2
        for name in names:
            self.emit([int(name)], tup_id=name)
        self._call("next", emitted=names, times=1)

    def ack(self, tup_id):
        self._call("ack", id=tup_id)

    def fail(self, tup_id):
        self._call("fail", id=tup_id)

    def activate(self):
        self._call("activate")

    def deactivate(self):
        self._call("deactivate")


class AckOnTickBolt(Notes, Bolt):
    """Acks what came since the last tick at the next one; fails every tenth."""

    auto_ack = auto_anchor = auto_fail = False

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        self.waiting = []

    def process(self, tup):
        self.waiting.append(tup)

    def process_tick(self, tup):
        self.note("tick", many=len(self.waiting))
        for each in self.waiting:
            (self.fail if each.values[0] % 10 == 9 else self.ack)(each)
        self.waiting = []
        self.ack(tup)


class FatalSpout(Notes, Spout):
    """One of the told scripts, which end their worker, for each time that it is started; then nothing."""

    outputs = ["pattern", "path", "script"]

    def initialize(self, storm_conf, context):
        super().initialize(storm_conf, context)
        scripts = self.told("fatal")
        done = os.path.join(self.directory, "done")
        number = os.path.getsize(done) if os.path.exists(done) else 0
        self.left = [list(scripts.items())[number]] if number < len(scripts) else []
        with open(done, "ab") as file:
            file.write(b".")
        self.calls = 0

    def next_tuple(self):
        self.calls += 1
        if self.left and self.calls > 20:  # the bolt has shaken hands by then
            name, script = self.left.pop()
            self.log(f"differential: {name}")
            self.note("emit", id=name)
            self.emit([0, name, json.dumps(script)], tup_id=name)

    def ack(self, tup_id):
        self.note("ack", id=tup_id)

    def fail(self, tup_id):
        self.note("fail", id=tup_id)
