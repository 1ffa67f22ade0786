"""The topologies that are recorded; stock streamparse."""

from streamparse import Grouping, Topology

from differential.components import (
    AckOnTickBolt,
    CallbackSpout,
    DirectSpout,
    FatalSpout,
    GroupingSpout,
    NotingBolt,
    ScriptBolt,
    ScriptSpout,
    SilentSpout,
)


class Acking(Topology):
    words = ScriptSpout.spec()
    first = ScriptBolt.spec(inputs={words: Grouping.fields("pattern")}, par=2)
    second = ScriptBolt.spec(inputs={first: Grouping.fields("pattern"), first["wide"]: Grouping.ALL}, par=3)
    third = ScriptBolt.spec(
        inputs={
            first["wide"]: Grouping.SHUFFLE,
            first["one"]: Grouping.GLOBAL,
            second: Grouping.fields("path"),
            second["one"]: Grouping.GLOBAL,
        },
        par=2,
    )


class Fatal(Topology):
    words = FatalSpout.spec()
    first = ScriptBolt.spec(inputs={words: Grouping.SHUFFLE})
    second = ScriptBolt.spec(inputs={first: Grouping.SHUFFLE})


class Groupings(Topology):
    values = GroupingSpout.spec()
    fields = NotingBolt.spec(inputs={values["fields"]: Grouping.fields("key")}, par=4)
    both = NotingBolt.spec(inputs={values["both"]: Grouping.fields("key", "other")}, par=7)
    partial = NotingBolt.spec(
        inputs={values["partial"]: Grouping.custom_object("org.apache.storm.grouping.PartialKeyGrouping", [])}, par=5
    )
    every = NotingBolt.spec(name="all", inputs={values["all"]: Grouping.ALL}, par=3)
    only = NotingBolt.spec(name="global", inputs={values["global"]: Grouping.GLOBAL}, par=3)
    shuffle = NotingBolt.spec(inputs={values["shuffle"]: Grouping.SHUFFLE}, par=3)
    none = NotingBolt.spec(inputs={values["none"]: Grouping.NONE}, par=3)
    local = NotingBolt.spec(inputs={values["local"]: Grouping.LOCAL_OR_SHUFFLE}, par=3)
    two_a = NotingBolt.spec(inputs={values["two"]: Grouping.fields("key")}, par=2)
    two_b = NotingBolt.spec(inputs={values["two"]: Grouping.ALL}, par=2)


class Direct(Topology):
    spout = DirectSpout.spec()
    direct = NotingBolt.spec(inputs={spout["direct"]: Grouping.DIRECT}, par=3)


class Names(Topology):
    """Names whose order is not that of a dictionary; several tasks each; ticks by component."""

    config = {"topology.tick.tuple.freq.secs": 3}
    zeta = SilentSpout.spec(name="zeta", par=2)
    upper = SilentSpout.spec(name="Zeta")
    a10 = NotingBolt.spec(
        name="a10", inputs={zeta: Grouping.SHUFFLE}, par=3, config={"topology.tick.tuple.freq.secs": 1}
    )
    a2 = NotingBolt.spec(name="a2", inputs={zeta: Grouping.SHUFFLE}, par=2, config={"topology.tick.tuple.freq.secs": 2})
    under = NotingBolt.spec(name="_under", inputs={upper: Grouping.ALL}, par=2)
    snake = NotingBolt.spec(name="a_b", inputs={upper: Grouping.GLOBAL, zeta: Grouping.NONE})
    dash = NotingBolt.spec(name="a-b", inputs={zeta: Grouping.LOCAL_OR_SHUFFLE})
    capital = NotingBolt.spec(name="Alpha", inputs={zeta: Grouping.fields("value")}, par=2)
    unicode = NotingBolt.spec(name="żółw", inputs={zeta: Grouping.SHUFFLE}, par=2)
    many = NotingBolt.spec(name="tasks", inputs={zeta: Grouping.SHUFFLE}, par=2, config={"topology.tasks": 5})


class Callbacks(Topology):
    config = {"topology.max.spout.pending": 5}
    spout = CallbackSpout.spec()
    slow = AckOnTickBolt.spec(inputs={spout: Grouping.SHUFFLE}, config={"topology.tick.tuple.freq.secs": 1})
