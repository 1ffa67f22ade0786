"""Random topologies, random acking, random deaths: what holds for all of them."""

from collections import Counter
from random import Random

from engine_parts import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from stormline.core.errors import Fenced
from stormline.engine.groupings import Grouping
from stormline.engine.topology import Subscription

GROUPINGS = [
    Grouping("shuffle"),
    Grouping("fields", ("number",)),
    Grouping("all"),
    Grouping("global"),
    Grouping("none"),
    Grouping("partial_key"),
]


class Moody:
    """Acks, fails, keeps for later, multiplies and dies at random, but reproducibly."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def __call__(self, bolt, tup) -> None:
        held = bolt.__dict__.setdefault("held", [])
        held.append(tup)
        for _ in range(self.random.choice((0, 1, 1, 2))):
            bolt.host.emit(tup.values, anchors=self.random.sample(held, self.random.randint(1, len(held))))
        if self.random.random() < 0.05:
            raise Fenced("by chance")
        while held and self.random.random() < 0.8:
            tup = held.pop(self.random.randrange(len(held)))
            (bolt.host.fail if self.random.random() < 0.1 else bolt.host.ack)(tup)


@st.composite
def benches(draw):
    """A layered topology of one to four bolts, each reading one or two of the components above it."""
    bench = Bench(range(12), spouts=draw(st.integers(1, 3)))
    mood = Moody(draw(st.integers(0, 1 << 20)))
    above = ["spout"]
    for name in "abcd"[: draw(st.integers(1, 4))]:
        sources = draw(st.lists(st.sampled_from(above), min_size=1, max_size=2, unique=True))
        inputs = tuple(Subscription(source, "default", draw(st.sampled_from(GROUPINGS))) for source in sources)
        bench.bolt(name, mood, inputs=inputs, tasks=draw(st.integers(1, 3)))
        above.append(name)
    return bench


seeds = st.none() | st.integers(0, 1 << 20)


@settings(max_examples=60, deadline=None)
@given(bench=benches(), seed=seeds)
def test_every_tracked_tuple_ends_in_exactly_one_ack_or_fail(bench, seed):
    """Whatever bolts ack, fail, keep or take into death: after two timeouts nothing is left open or told twice."""
    bench.start(seed=seed)
    bench.drain()
    bench.clock.advance(60_000)
    bench.drain()
    assert Counter(bench.seen("ack") + bench.seen("fail")) == Counter(map(str, range(12)))


@settings(max_examples=40, deadline=None)
@given(bench=benches(), seed=seeds, mood=st.integers(0, 1 << 20))
def test_an_acked_tuple_was_failed_and_kept_by_nobody(bench, seed, mood):
    """The XOR is zero only if every tuple of the tree is acked: numbers that some bolt failed or still holds fail."""
    random = Random(mood)
    failed, held = set(), set()

    def judge(bolt, tup):
        for _ in range(random.choice((0, 1, 2))):
            bolt.host.emit(tup.values, anchors=[tup])
        fate = random.random()
        if fate < 0.1:
            failed.add(str(tup.values[0]))
            bolt.host.fail(tup)
        elif fate < 0.2:
            held.add(str(tup.values[0]))
        else:
            bolt.host.ack(tup)

    layers = bench.components[1:]
    del bench.components[1:]
    for spec in layers:
        bench.bolt(spec.name, judge, inputs=spec.inputs, tasks=spec.parallelism)
    bench.start(seed=seed)
    bench.drain()
    assert set(bench.seen("fail")) == failed
    assert set(bench.seen("ack")) == set(map(str, range(12))) - failed - held


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1 << 20))
def test_the_same_seed_gives_the_same_trace(data, seed):
    """Two engines over the same topology do the same things in the same order, deaths included."""
    shape = data.draw(st.integers(0, 1 << 20))

    def trace():
        random = Random(shape)
        bench = Bench(range(12), spouts=random.randint(1, 3))
        mood = Moody(shape)
        for name, source in (("a", "spout"), ("b", "a"), ("c", random.choice(("a", "spout")))):
            bench.bolt(name, mood, source=source, grouping=random.choice(GROUPINGS), tasks=random.randint(1, 3))
        bench.start(seed=seed)
        bench.drain()
        return bench.trace

    assert trace() == trace()


def test_other_seeds_give_other_orders():
    """Ten seeds over one topology: not all traces are alike."""

    def trace(seed):
        bench = Bench(range(12), spouts=2).bolt("a", lambda bolt, tup: bolt.host.ack(tup), tasks=3)
        bench.start(seed=seed)
        bench.drain()
        return tuple(bench.trace)

    assert len({trace(seed) for seed in range(10)}) > 5


@settings(max_examples=40, deadline=None)
@given(seed=seeds, spouts=st.integers(1, 3), tasks=st.integers(1, 3))
def test_tuples_stay_in_order_between_two_tasks(seed, spouts, tasks):
    """First in, first out per (sending task, receiving task), through two hops, with and without a seed."""
    seen = {}

    def takes(bolt, tup):
        seen.setdefault((tup.task, bolt.host.context.task), []).append(tup.id)
        bolt.host.emit(tup.values, anchors=[tup])
        bolt.host.emit(tup.values, anchors=[tup])
        bolt.host.ack(tup)

    bench = Bench(range(20), spouts=spouts)
    bench.bolt("a", takes, tasks=tasks).bolt("b", takes, source="a", tasks=2).bolt("c", takes, source="a", tasks=1)
    bench.start(seed=seed)
    bench.drain()
    assert len(seen) > 1
    assert all(ids == sorted(ids) for ids in seen.values())


def test_with_a_seed_several_tuples_of_a_spout_are_in_flight():
    """Some schedule overtakes: a later number is acked before an earlier one."""

    def acked(seed):
        bench = Bench(range(8)).bolt("a", lambda bolt, tup: bolt.host.ack(tup), tasks=2)
        bench.start(seed=seed)
        bench.drain()
        return bench.seen("ack")

    assert acked(None) == [str(number) for number in range(8)]
    assert any(acked(seed) != acked(None) for seed in range(10))
