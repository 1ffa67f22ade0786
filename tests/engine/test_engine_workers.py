"""Several workers linked by sockets: the same rules as in one, and nobody blocks."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from engine_parts import Bench, acks, holds, relays
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_engine_properties import benches

from stormline.core.batch import BATCH_FIELDS, Batch, Rows
from stormline.core.progress import Claim, Progress
from stormline.core.record import Record
from stormline.engine.acker import Verdict
from stormline.engine.deployment import Deployment
from stormline.engine.groupings import Grouping
from stormline.engine.links import MOST_WAITING, Links
from stormline.engine.messages import Acked, Begun, Carried, Failed
from stormline.engine.reactor import Reactor
from stormline.engine.tasks import executors, spread
from stormline.engine.topology import ComponentSpec, StreamSpec, TopologySpec
from stormline.engine.wire import Wire
from stormline.engine.worker import Worker


class Trade(Record):
    amount: int
    user: str


class Cluster:
    """The workers of a bench, all on this thread."""

    def __init__(self, bench: Bench, workers: int, folder: Path, **conf) -> None:
        conf = {"topology.workers": workers, **{f"topology.{k.replace('_', '.')}": v for k, v in conf.items()}}
        deployment = Deployment(TopologySpec(tuple(bench.components)), name="bench", conf=conf)
        self.bench = bench
        self.links = [Links(number, workers, Wire(deployment), folder) for number in range(workers)]
        self.workers = [
            Worker(deployment, edges=None, clock=bench.clock, number=number, transport=links)
            for number, links in enumerate(self.links)
        ]
        for worker, links in zip(self.workers, self.links, strict=True):
            links.serve(worker, worker.take_in)
            worker.start(active=False)

    def connect(self) -> Cluster:
        for number, links in enumerate(self.links):
            for other in range(len(self.links)):
                if other != number:
                    links.connect(other)
        for worker in self.workers:
            worker.activate()
        return self

    def drain(self) -> None:
        """Until no worker has had anything to do for some rounds."""
        quiet = 0
        while quiet < 5:
            before = len(self.bench.trace)
            for worker in self.workers:
                for _ in range(10):
                    worker.step()
            quiet = quiet + 1 if len(self.bench.trace) == before else 0

    def close(self) -> None:
        for worker, links in zip(self.workers, self.links, strict=True):
            links.close()
            worker.close()


@contextmanager
def cluster(bench: Bench, workers: int = 2, **conf) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="sl-") as folder, ExitStack() as stack:
        running = Cluster(bench, workers, Path(folder), **conf)
        stack.callback(running.close)
        yield running.connect()


def test_executors_are_dealt_out_to_the_workers_in_turn():
    """
    As Storm's even scheduler: in the order of their first tasks, an executor of several tasks stays whole.
    """
    runs = [*executors(range(1, 4), 3), *executors(range(4, 8), 2), *executors([8], 1)]

    assert {1: 0, 2: 1, 3: 0, 4: 1, 5: 1, 6: 0, 7: 0, 8: 1} == spread(runs, 2)


def test_acks_find_their_spout_through_other_workers():
    """
    Bolts and ackers are spread over three workers; each tuple is acked once, in every one.
    """
    bench = Bench(range(50), spouts=2).bolt("a", relays, tasks=3).bolt("b", acks, source="a", tasks=3)
    with cluster(bench, 3) as running:
        running.drain()

        assert Counter(map(str, range(50))) == Counter(bench.seen("ack"))
        assert 50 == len(bench.seen("execute", "b"))
        assert [0, 0, 0] == [worker.waited_for for worker in running.workers]


def test_with_fewer_ackers_than_workers_begun_trees_travel_too():
    """
    One acker for three workers.
    """
    bench = Bench(range(30), spouts=3).bolt("a", acks, tasks=3)
    with cluster(bench, 3, acker_executors=1) as running:
        running.drain()

        assert Counter(map(str, range(30))) == Counter(bench.seen("ack"))


def test_local_or_shuffle_stays_in_the_worker():
    """
    Each task of the spout sends to the bolt task beside it.
    """
    bench = Bench(range(40), spouts=2).bolt("a", acks, tasks=2, grouping=Grouping("local_or_shuffle"))
    with cluster(bench, 2, acker_executors=2) as running:
        running.drain()
        place = running.workers[0].deployment.place
        emitted = {which: place[task] for _, task, what, which in bench.trace if what == "emit"}
        executed = {which: place[task] for _, task, what, which in bench.trace if what == "execute"}

        assert 40 == len(executed)
        assert emitted == executed


def test_spouts_wait_until_all_workers_are_connected():
    """
    A tuple for a worker that is not there would be lost.
    """
    bench = Bench(range(5), spouts=2).bolt("a", acks, tasks=2)
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        running = Cluster(bench, 2, Path(folder))
        for worker in running.workers:
            worker.activate()
        running.drain()
        assert [] == bench.seen("emit")

        running.connect().drain()
        assert 5 == len(bench.seen("ack"))
        running.close()


@settings(max_examples=40, deadline=None)
@given(bench=benches(), workers=st.integers(2, 4))
def test_every_tracked_tuple_ends_once_however_many_workers_there_are(bench, workers):
    """
    The promise of one worker, with tasks, acks and deaths of tasks spread over several.
    """
    with cluster(bench, workers) as running:
        running.drain()
        bench.clock.advance(60_000)
        running.drain()
        bench.clock.advance(60_000)
        running.drain()

    assert Counter(bench.seen("ack") + bench.seen("fail")) == Counter(map(str, range(12)))


def test_what_a_dead_worker_may_have_held_fails_and_what_comes_then_waits_for_its_successor():
    """
    The order of a death: nobody sends to it, all pending fails, a new one listens, it is connected.
    """
    bench = Bench(range(6), spouts=1).bolt("a", holds, tasks=2, grouping=Grouping("all"))
    with cluster(bench, 2) as running:
        (spout,) = running.workers[0].deployment.tasks["spout"]
        alive = running.workers[0].deployment.place[spout]
        running.drain()
        running.links[alive].disconnect(1 - alive)
        running.workers[alive].fail_pending()
        while running.workers[alive].step():
            pass

        assert sorted(map(str, range(6))) == sorted(bench.seen("fail"))
        assert running.links[alive].congested
        running.links[alive].connect(1 - alive)
        assert not running.links[alive].congested


class Alone:
    """Two sides of links without workers: what comes is kept."""

    def __init__(self, folder: Path) -> None:
        topology = TopologySpec((ComponentSpec("a", object, True, streams={"default": StreamSpec(("x",))}),))
        wire = Wire(Deployment(topology, name="x", conf={}))
        self.links = [Links(number, 2, wire, folder) for number in (0, 1)]
        self.reactors = [Reactor(lambda host, call: call()) for _ in (0, 1)]
        self.came: list[list] = [[], []]
        for links, reactor, came in zip(self.links, self.reactors, self.came, strict=True):
            links.serve(reactor, came.append)
        for number, links in enumerate(self.links):
            links.connect(1 - number)

    def close(self) -> None:
        for links, reactor in zip(self.links, self.reactors, strict=True):
            links.close()
            reactor.close()


@pytest.fixture
def alone() -> Iterator[Alone]:
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        sides = Alone(Path(folder))
        yield sides
        sides.close()


def test_a_full_pipe_both_ways_blocks_nobody(alone: Alone):
    """
    Both sides send more than sockets hold, without reading: no call waits, spouts are held back, and all of it arrives
    in order once it is read.
    """
    big = "x" * 100_000
    count = MOST_WAITING // 100_000 + 50
    for number in range(count):
        for side in (0, 1):
            alone.links[side].send(1 - side, Carried(1, 1, "default", [big, number], {}))
    assert all(links.congested for links in alone.links)

    for _ in range(10_000):
        if all(len(came) == count for came in alone.came):
            break
        for links, reactor in zip(alone.links, alone.reactors, strict=True):
            reactor.poll()
            links.flush(behind=False)
    assert [list(range(count))] * 2 == [[message.values[1] for message in came] for came in alone.came]
    assert not any(links.congested for links in alone.links)


def test_a_worker_that_cannot_keep_up_holds_back_the_spouts_of_the_others(alone: Alone):
    """
    It says so when it falls behind and when it has caught up.
    """
    for behind in (True, False):
        alone.links[0].flush(behind=behind)
        for _ in range(10):
            alone.reactors[1].poll()
        assert behind is alone.links[1].congested


texts = st.text(max_size=5)
rows = st.lists(st.tuples(st.integers(0, 1 << 60), st.integers(-(1 << 60), 1 << 60), st.integers(), texts, texts))
surrogates = st.characters(categories=["Cs"])  # one half: two that fit are one character, in JSON too
ids = st.integers(0, (1 << 64) - 1)


def batch(drawn, keyed, attempt):
    offsets, times, amounts, users, keys = ([row[i] for row in drawn] for i in range(5))
    amounts = [amount % (1 << 60) for amount in amounts]
    values = [Trade(amount=amount, user=user) for amount, user in zip(amounts, users, strict=True)]
    return Batch(3, "trades.batch", "trades:x/0", Rows(offsets, times, values, keys if keyed else None), attempt)


two, small = st.just(2), st.integers(0, 9)
claims = st.builds(Claim, texts, small, small, st.none(), idle=st.booleans(), ended=st.booleans())
progress = st.builds(Progress, texts, two, texts, small, small, st.tuples(claims))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | surrogates
messages = st.one_of(
    st.builds(Begun, ids, ids, st.integers(1, 9)),
    st.builds(Acked, ids, ids),
    st.builds(Failed, ids),
    st.builds(Verdict, ids, st.integers(1, 9), st.booleans()),
    st.builds(
        Carried,
        two,
        two,
        st.just("batch"),
        st.builds(batch, rows, st.booleans(), st.integers(1, 9)),
        st.dictionaries(ids, ids),
    ),
    st.builds(Carried, two, two, st.just("progress"), st.tuples(progress), st.just({})),
    st.builds(Carried, two, two, st.just("default"), st.lists(scalars | st.lists(texts)), st.dictionaries(ids, ids)),
)


@given(message=messages)
@example(message=Carried(2, 2, "default", [1 << 70, {"k": ["\ud800", -(1 << 90)]}], {1: 2}))
def test_a_message_arrives_as_it_was_sent(message):
    """
    Tuples of our batches with their records, progress, whatever values JSON has (whole numbers of any size, halves of
    surrogate pairs), and all that the acker needs to know.
    """
    streams = {
        "batch": StreamSpec(BATCH_FIELDS),
        "progress": StreamSpec(("progress",)),
        "default": StreamSpec(("word",)),
    }
    conf = {"stormline.schema": f"{__name__}:Trade"}
    topology = TopologySpec((ComponentSpec("trades", object, True, streams=streams, conf=conf),))
    wire = Wire(Deployment(topology, name="x", conf={}))

    assert message == wire.decode(wire.encode(message))
