"""A streamparse topology read into plain data, and laid out over tasks."""

import pytest
from engine_parts import Bench, Numbers, holds
from streamparse import Bolt, Grouping, JavaBolt, Spout, Stream, Topology

from stormline.core.errors import SettingsError
from stormline.engine import groupings
from stormline.engine.conf import component_conf
from stormline.engine.deployment import Deployment
from stormline.engine.topology import ComponentSpec, StreamSpec, Subscription, TopologySpec, read_topology

SHUFFLE = groupings.Grouping("shuffle")


class Source(Spout):
    outputs = ["word", Stream(fields=["where"], name="side", direct=True)]

    @classmethod
    def make(cls):
        return "a source"


class Step(Bolt):
    outputs = ["out"]
    config = {"stormline.limit": 3}

    @classmethod
    def make(cls):
        return "a step"


class Words(Topology):
    config = {"topology.workers": 2}
    source = Source.spec(par=2)
    step = Step.spec(inputs={source: Grouping.fields("word"), source["side"]: Grouping.DIRECT}, par={"a": 3, "b": 4})
    last = Step.spec(inputs={step: Grouping.GLOBAL})
    rest = Step.spec(inputs=[step])
    local = Step.spec(inputs={step: Grouping.LOCAL_OR_SHUFFLE})
    every = Step.spec(inputs={step: Grouping.ALL})
    lazy = Step.spec(inputs={step: Grouping.NONE})
    partial = Step.spec(
        inputs={step: Grouping.custom_object("org.apache.storm.grouping.PartialKeyGrouping", [])},
    )


def test_components_streams_and_hints_are_read_from_the_specs():
    """Names, kind, parallelism of the environment, streams and configuration; `make` is the class's own."""
    words = read_topology(Words, environment="b")
    source, step = words.components[:2]
    assert (source.name, source.is_spout, source.parallelism) == ("source", True, 2)
    assert source.streams == {"default": StreamSpec(("word",)), "side": StreamSpec(("where",), direct=True)}
    assert (step.name, step.is_spout, step.parallelism) == ("step", False, 4)
    assert step.conf == {"stormline.limit": 3}
    assert (source.make(), step.make()) == ("a source", "a step")
    assert words.conf == {"topology.workers": 2}


def test_each_grouping_of_the_dsl_is_understood():
    """Also GLOBAL, which Storm writes as fields without a field, and Java's partial key grouping."""
    words = read_topology(Words, environment="a")
    kinds = {component.name: [entry.grouping for entry in component.inputs] for component in words.components}
    assert sorted(kinds["step"]) == [groupings.Grouping("direct"), groupings.Grouping("fields", ("word",))]
    assert {name: found[0].kind for name, found in kinds.items() if len(found) == 1} == {
        "last": "global",
        "rest": "shuffle",
        "local": "local_or_shuffle",
        "every": "all",
        "lazy": "none",
        "partial": "partial_key",
    }


def test_a_hint_without_this_environment_is_refused():
    """The error names the component, the environments it has, and the one asked for."""
    with pytest.raises(SettingsError, match=r"step: par names the environments a, b, but this is c"):
        read_topology(Words, environment="c")


def test_components_of_the_jvm_are_refused():
    """They need a real Storm: the error names the component and its class."""

    class Mixed(Topology):
        source = Source.spec()
        java = JavaBolt.spec(full_class_name="org.example.Thing", args_list=[], inputs=[source])

    with pytest.raises(SettingsError, match=r"java: a component in Java needs a real Storm"):
        read_topology(Mixed)


def test_a_java_grouping_is_refused():
    """Custom groupings run in a JVM only."""

    class Custom(Topology):
        source = Source.spec()
        step = Step.spec(inputs={source: Grouping.custom_object("org.example.Mine", [1])})

    with pytest.raises(SettingsError, match=r"step: a custom grouping in Java \(org.example.Mine\)"):
        read_topology(Custom)


def plan(*components, conf=None, **kwargs):
    return Deployment(TopologySpec(components, **kwargs), name="words", conf=conf or {})


def spout(name="spout", **kwargs):
    return ComponentSpec(name, object, True, streams={"default": StreamSpec(("a", "b"))}, **kwargs)


def bolt(name, source, stream="default", grouping=SHUFFLE, **kwargs):
    return ComponentSpec(name, object, False, inputs=(Subscription(source, stream, grouping),), **kwargs)


def test_every_subscription_that_leads_nowhere_is_listed():
    """One error names all of them."""
    with pytest.raises(SettingsError) as caught:
        plan(
            spout(),
            bolt("one", "nobody"),
            bolt("two", "spout", "side"),
            bolt("three", "spout", grouping=groupings.Grouping("fields", ("a", "c"))),
        )
    assert caught.value.faults == (
        "one: subscribes to nobody, which is no component of the topology",
        "two: subscribes to stream 'side' of spout, which declares default",
        "three: groups by field 'c', which spout does not declare on default",
    )


def test_a_task_is_told_what_the_handshake_tells():
    """Context: all tasks with the ackers, who reads its streams, what it reads, and its merged configuration."""
    deployment = plan(
        spout(),
        bolt("Zeta", "spout", parallelism=2, conf={"stormline.x": 1, "topology.debug": True}),
        conf={"topology.workers": 2, "stormline.x": 0},
    )
    assert deployment.tasks == {"Zeta": range(1, 3), "__acker": range(3, 5), "spout": range(5, 6)}
    context = deployment.context(2)
    assert (context.topology, context.component, context.task) == ("words", "Zeta", 2)
    assert context.tasks_by_component == deployment.tasks
    assert context.sources == [("spout", "default")]
    assert context.conf["stormline.x"] == 1
    assert context.conf["topology.debug"] is True
    assert context.conf["topology.name"] == "words"
    assert deployment.context(5).targets == {"default": ["Zeta"]}


def test_storms_settings_of_the_whole_topology_have_no_effect_on_one_component():
    """Storm drops them there; they are handed back, so that someone can say so."""
    conf, ignored = component_conf(
        {"topology.message.timeout.secs": 30},
        {"topology.message.timeout.secs": 5, "topology.tick.tuple.freq.secs": 2, "mine": 1},
    )
    assert conf == {"topology.message.timeout.secs": 30, "topology.tick.tuple.freq.secs": 2, "mine": 1}
    assert ignored == ["topology.message.timeout.secs"]


def test_the_configuration_given_to_the_engine_wins_over_the_topologys_own():
    """As the command line's options win over the class attribute `config`."""
    deployment = plan(
        spout(),
        conf={"topology.message.timeout.secs": 5},
    )
    assert plan(spout()).timeout_ms == 30_000
    assert deployment.timeout_ms == 5_000
    assert (
        Deployment(
            TopologySpec((spout(),), {"topology.message.timeout.secs": 7, "x": 1}), name="words", conf={"x": 2}
        ).conf["x"]
        == 2
    )


def test_our_components_are_refused_without_ackers():
    """
    Nothing would say what is taken care of, and records could be lost.
    """
    ours = spout(conf={"stormline.schema": "m:S"})

    with pytest.raises(SettingsError, match=r"topology.acker.executors is 0: spout would not know"):
        plan(ours, conf={"topology.acker.executors": 0})


def test_without_ackers_a_spout_is_acked_inside_emit():
    """
    As Storm does for other topologies: `ack` comes before `emit` returns, and nothing fails or times out.
    """
    bench = Bench([1], make=lambda: Telling(bench.trace, bench.waiting)).bolt("a", holds)
    bench.start(acker_executors=0, message_timeout_secs=1)
    bench.drain()
    bench.clock.advance(60_000)
    bench.drain()

    assert [what for _, _, what, _ in bench.trace if what in ("emit", "ack", "emitted", "fail")] == [
        "emit",
        "ack",
        "emitted",
    ]


class Telling(Numbers):
    """Notes when its `emit` has returned."""

    def next_tuple(self):
        emitted = super().next_tuple()
        if emitted:
            self.note("emitted")
        return emitted


def test_two_components_of_one_name_are_refused():
    """
    Tasks and results are told apart by it.
    """
    with pytest.raises(SettingsError, match=r"a: 2 components have this name"):
        TopologySpec((spout("a"), bolt("a", "a")))


def test_a_topology_without_a_spout_is_refused():
    """
    As Storm's own client does.
    """
    with pytest.raises(SettingsError, match=r"has no spout"):
        TopologySpec(())


def test_a_cycle_without_time_outs_is_refused():
    """
    What goes round for ever would never fail; with time-outs a cycle is allowed, as on Storm.
    """
    streams = {"default": StreamSpec(("a", "b"))}
    ring = (spout(), bolt("x", "y", streams=streams), bolt("y", "x", streams=streams))
    plan(*ring)

    with pytest.raises(SettingsError, match=r"form a cycle \(x -> y -> x|form a cycle \(y -> x -> y"):
        plan(*ring, conf={"topology.enable.message.timeouts": False})
