"""Emitting, anchoring, acking and failing on the inline engine."""

import pytest
from engine_parts import SHUFFLE, Bench, Numbers, acks, holds, relays

from stormline.core.errors import UserCodeError
from stormline.engine.groupings import Grouping
from stormline.engine.topology import StreamSpec, Subscription

DIRECT = Grouping("direct")


def fails(bolt, tup):
    bolt.host.fail(tup)


def test_a_tuple_is_acked_to_its_spout_once_its_whole_tree_is_acked():
    """Two levels, two branches: one ack, after the last bolt's."""
    bench = Bench([7]).bolt("a", relays, tasks=1).bolt("b", acks, source="a").bolt("c", acks, source="a")
    bench.start()
    bench.drain()
    assert [entry[2:] for entry in bench.trace if entry[2] in ("execute", "ack")] == [
        ("execute", 7),
        ("execute", 7),
        ("execute", 7),
        ("ack", "7"),
    ]


def test_one_fail_fails_the_tree_and_late_acks_are_ignored():
    """The other branch acks afterwards: the spout hears of the fail alone."""
    bench = Bench([7]).bolt("a", fails).bolt("b", relays).bolt("c", acks, source="b")
    bench.start()
    bench.drain()
    assert bench.seen("fail") == ["7"]
    assert bench.seen("ack") == []
    assert bench.seen("execute", "c") == [7]


def test_a_tuple_nobody_receives_is_acked_at_once():
    """A declared stream that nobody reads sends nothing; its ack comes after `next_tuple` returned."""
    bench = Bench([1, 2])
    bench.start()
    bench.drain()
    assert [entry[2:] for entry in bench.trace if entry[2] in ("emit", "ack")] == [
        ("emit", 1),
        ("ack", "1"),
        ("emit", 2),
        ("ack", "2"),
    ]


def test_a_tuple_without_message_id_is_not_tracked():
    """It is delivered, and nobody hears of its ack or its fail."""

    class Careless(Numbers):
        def next_tuple(self):
            if not self.waiting:
                return False
            self.host.emit((self.waiting.popleft(),))
            return True

    bench = (
        Bench([1, 2], make=lambda: Careless(bench.trace, bench.waiting)).bolt("a", relays).bolt("b", fails, source="a")
    )
    bench.start()
    bench.drain()
    assert bench.seen("execute", "b") == [1, 2]
    assert bench.seen("ack") == bench.seen("fail") == []


def test_an_unanchored_tuple_does_not_hold_its_cause():
    """The tree of 1 is acked although the tuple made from it without an anchor is never acked."""

    def emits_unanchored(bolt, tup):
        bolt.host.emit(tup.values)
        bolt.host.ack(tup)

    bench = Bench([1]).bolt("a", emits_unanchored).bolt("b", holds, source="a")
    bench.start()
    bench.drain()
    assert bench.seen("execute", "b") == [1]
    assert bench.seen("ack") == ["1"]


def test_a_tuple_anchored_to_two_trees_holds_both():
    """A bolt joins two inputs; the fail of the join fails both spout tuples."""

    def joins(bolt, tup):
        bolt.kept = [*getattr(bolt, "kept", []), tup]
        if len(bolt.kept) == 2:
            bolt.host.emit((sum(kept.values[0] for kept in bolt.kept),), anchors=bolt.kept)
            for kept in bolt.kept:
                bolt.host.ack(kept)

    bench = Bench([1, 2]).bolt("a", joins).bolt("b", fails, source="a")
    bench.start()
    bench.drain()
    assert bench.seen("execute", "b") == [3]
    assert sorted(bench.seen("fail")) == ["1", "2"]


def test_a_tuple_anchored_twice_to_one_tree_lets_it_end():
    """Both branches of a diamond meet in one bolt, which anchors one tuple to both."""

    def joins(bolt, tup):
        bolt.kept = [*getattr(bolt, "kept", []), tup]
        if len(bolt.kept) == 2:
            bolt.host.emit(tup.values, anchors=bolt.kept)
            for kept in bolt.kept:
                bolt.host.ack(kept)

    both = (Subscription("a", "default", SHUFFLE), Subscription("b", "default", SHUFFLE))
    bench = Bench([1]).bolt("a", relays).bolt("b", relays).bolt("c", joins, inputs=both).bolt("d", acks, source="c")
    bench.start()
    bench.drain()
    assert bench.seen("ack") == ["1"]


@pytest.mark.parametrize(("first", "second"), [("ack", "ack"), ("ack", "fail"), ("fail", "ack")])
def test_acking_a_tuple_twice_is_an_error_that_names_the_component(first, second):
    """Once acked or failed, a tuple is no longer held."""

    def twice(bolt, tup):
        getattr(bolt.host, first)(tup)
        getattr(bolt.host, second)(tup)

    bench = Bench([1]).bolt("a", twice)
    bench.start()
    with pytest.raises(UserCodeError, match=rf"a \(task 2\): {second}s tuple \d+ from spout/default"):
        bench.drain()


def test_anchoring_to_an_acked_tuple_is_an_error():
    """Its tree may have ended: the anchor would hold nothing."""

    def acks_first(bolt, tup):
        bolt.host.ack(tup)
        bolt.host.emit(tup.values, anchors=[tup])

    bench = Bench([1]).bolt("a", acks_first)
    bench.start()
    with pytest.raises(UserCodeError, match=r"a \(task 2\): anchors to tuple"):
        bench.drain()


def test_an_undeclared_stream_is_an_error_that_names_component_and_stream():
    """And lists those that are declared."""

    def strays(bolt, tup):
        bolt.host.emit(tup.values, stream="nope")

    bench = Bench([1]).bolt("a", strays)
    bench.start()
    with pytest.raises(
        UserCodeError, match=r"a \(task 2\): emits on the undeclared stream 'nope'; it declares 'default'"
    ):
        bench.drain()


def test_the_number_of_values_must_be_that_of_the_fields():
    """Two values on a stream of one field."""

    def too_many(bolt, tup):
        bolt.host.emit((1, 2))

    bench = Bench([1]).bolt("a", too_many)
    bench.start()
    with pytest.raises(UserCodeError, match=r"a \(task 2\), stream 'default': emits 2 values, the stream declares 1"):
        bench.drain()


def test_a_value_that_cannot_be_grouped_is_an_error_that_names_the_stream():
    """Which component sent what on which stream."""

    def emits_bytes(bolt, tup):
        bolt.host.emit((b"x",))

    bench = Bench([1]).bolt("a", emits_bytes).bolt("b", acks, source="a", grouping=Grouping("fields", ("number",)))
    bench.start()
    with pytest.raises(UserCodeError, match=r"a \(task 2\), stream 'default': .*b'x' of type bytes"):
        bench.drain()


def test_values_travel_by_reference():
    """The object that arrives is the object that was sent."""
    sent, arrived = ([1, 2],), []

    class Sender(Numbers):
        def next_tuple(self):
            if not self.waiting:
                return False
            self.waiting.popleft()
            self.host.emit(sent)
            return True

    bench = Bench([1], make=lambda: Sender(bench.trace, bench.waiting))
    bench.bolt("a", lambda bolt, tup: arrived.append(tup.values))
    bench.start()
    bench.drain()
    assert arrived[0] is sent


def test_a_direct_stream_goes_to_the_task_that_the_sender_names():
    """And nowhere if that task does not subscribe."""

    def to_the_last(bolt, tup):
        tasks = bolt.host.context.tasks_by_component
        bolt.host.emit(tup.values, anchors=[tup], task=tasks["b"][-1])
        bolt.host.emit(tup.values, anchors=[tup], task=tasks["spout"][0])
        bolt.host.ack(tup)

    bench = Bench([1, 2]).bolt("a", to_the_last, streams={"default": StreamSpec(("number",), direct=True)})
    bench.bolt("b", acks, source="a", grouping=DIRECT, tasks=3)
    engine = bench.start()
    bench.drain()
    executed = [(task, number) for name, task, what, number in bench.trace if (name, what) == ("b", "execute")]
    assert executed == [(engine.deployment.tasks["b"][-1], 1), (engine.deployment.tasks["b"][-1], 2)]
    assert bench.seen("ack") == ["1", "2"]


@pytest.mark.parametrize(
    ("grouping", "task", "message"),
    [(DIRECT, None, "name the receiving task"), (SHUFFLE, 3, "emits to task 3, which has no direct grouping")],
)
def test_direct_and_regular_emits_do_not_mix(grouping, task, message):
    """Storm refuses both ways."""

    def emits(bolt, tup):
        bolt.host.emit(tup.values, task=task)

    bench = Bench([1]).bolt("a", emits).bolt("b", acks, source="a", grouping=grouping)
    bench.start()
    with pytest.raises(UserCodeError, match=message):
        bench.drain()


def test_spouts_do_not_anchor_and_bolts_give_no_message_id():
    """Each is told what to do instead."""

    def gives_id(bolt, tup):
        bolt.host.emit(tup.values, message_id="x")

    bench = Bench([1]).bolt("a", gives_id)
    bench.start()
    with pytest.raises(UserCodeError, match="a bolt anchors to its input"):
        bench.drain()
