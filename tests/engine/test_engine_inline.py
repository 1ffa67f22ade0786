"""The inline engine: its life, the order in which it does things, and calls posted to it. Time stands still unless a
test moves its clock."""

import threading
from collections import Counter

import pytest
from engine_parts import Bench, Part, acks, holds, relays

from stormline.core.errors import StormlineError
from stormline.engine.clock import WallClock


def test_all_tasks_are_prepared_before_a_spout_is_activated():
    """In the order of task ids; the spout is asked only after that."""
    bench = Bench([1], spouts=2).bolt("z", acks, tasks=2)
    bench.start()
    assert [entry[:3] for entry in bench.trace] == [
        ("spout", 2, "prepare"),
        ("spout", 3, "prepare"),
        ("z", 4, "prepare"),
        ("z", 5, "prepare"),
        ("spout", 2, "activate"),
        ("spout", 3, "activate"),
    ]


def test_close_calls_each_component_once_spouts_first():
    """The orderly end; a second close does nothing, a step is refused."""
    bench = Bench().bolt("a", acks)
    engine = bench.start()
    engine.close()
    engine.close()
    assert [entry[0] for entry in bench.trace if entry[2] == "close"] == ["spout", "a"]
    with pytest.raises(StormlineError, match="topology bench is closed"):
        engine.step()


def test_deactivated_spouts_emit_no_more_but_hear_of_their_tuples():
    """What is on its way goes on."""
    bench = Bench([1, 2]).bolt("a", acks)
    engine = bench.start()
    engine.step()
    engine.deactivate()
    bench.drain()
    assert bench.seen("emit") == [1]
    assert bench.seen("deactivate") == [None]
    assert bench.seen("ack") == ["1"]


def test_a_spout_made_anew_while_deactivated_stays_so():
    """Prepared, but neither activated nor asked."""
    bench = Bench([1]).bolt("a", acks)
    engine = bench.start()
    engine.deactivate()
    engine.kill_task(engine.deployment.tasks["spout"][0])
    bench.drain()
    assert len(bench.seen("prepare", "spout")) == 2
    assert len(bench.seen("activate")) == 1
    assert bench.seen("emit") == []


def test_status_lists_each_task_of_each_component():
    """One entry a task, in the order of task ids."""
    bench = Bench([1, 2], spouts=2).bolt("a", acks)
    engine = bench.start()
    status = engine.status()
    assert {name: len(tasks) for name, tasks in status.items()} == {"spout": 2, "a": 1}
    assert status["spout"][0].records_in == 2


def test_settled_means_nothing_on_its_way_and_everybody_says_so():
    """Not while the spout has input, not while a tuple or a posted call waits."""
    bench = Bench([1]).bolt("a", acks)
    engine = bench.start()
    assert not engine.settled()
    engine.step()
    assert not bench.waiting
    assert not engine.settled()
    bench.drain()
    assert engine.settled()
    engine.post(lambda: None)
    assert not engine.settled()
    bench.drain()
    assert engine.settled()


def test_tuples_come_before_new_output_of_the_spouts():
    """Each tuple is through the topology, and its ack with the spout, before the next is emitted."""
    bench = Bench([1, 2]).bolt("a", relays).bolt("b", acks, source="a")
    bench.start()
    bench.drain()
    assert [entry[2] for entry in bench.trace if entry[2] in ("emit", "execute", "ack")] == [
        *("emit", "execute", "execute", "ack"),
        *("emit", "execute", "execute", "ack"),
    ]


def test_spouts_take_turns():
    """Three tasks that always have something emit in rotation."""
    bench = Bench(range(9), spouts=3).bolt("a", acks)
    bench.start()
    bench.drain()
    tasks = [task for _, task, what, _ in bench.trace if what == "emit"]
    assert sorted(tasks[:3]) == [3, 4, 5]
    assert tasks == tasks[:3] * 3


def test_max_spout_pending_limits_what_is_in_flight():
    """With 2 allowed and nothing acked, the third tuple waits until one is failed."""
    held = []
    bench = Bench(range(5)).bolt("a", lambda bolt, tup: held.append((bolt, tup)))
    bench.start(max_spout_pending=2)
    bench.drain()
    assert bench.seen("emit") == [0, 1]
    bolt, tup = held[0]
    bench.engine.post(lambda: bolt.host.ack(tup))
    bench.drain()
    assert bench.seen("emit") == [0, 1, 2]


def test_max_spout_pending_is_counted_over_the_tasks_of_an_executor():
    """One executor of two tasks: 2 x 2 tuples, whichever of the tasks emits them."""
    bench = Bench(range(9), conf={"topology.tasks": 2}).bolt("a", holds)
    bench.start(max_spout_pending=2)
    bench.drain()
    assert bench.seen("emit") == [0, 1, 2, 3]


def test_a_posted_call_runs_between_deliveries_on_the_engines_thread():
    """Posted by another thread, run by the one that steps."""
    bench = Bench().bolt("a", acks)
    engine = bench.start(clock=WallClock())
    ran_on = []
    thread = threading.Thread(target=lambda: engine.post(lambda: ran_on.append(threading.get_ident())))
    thread.start()
    thread.join(10)
    assert ran_on == []
    assert engine.step()
    assert ran_on == [threading.get_ident()]


def test_a_post_wakes_an_engine_at_rest_at_once():
    """The engine rests with its next timer a minute away; a thread's post ends the run long before."""
    bench = Bench().bolt("a", acks)
    clock = WallClock()
    engine = bench.start(clock=clock, message_timeout_secs=60)
    resting, done = threading.Event(), []

    def poster():
        assert resting.wait(10)
        engine.post(lambda: done.append(True))

    thread = threading.Thread(target=poster)
    thread.start()

    def until():
        resting.set()
        return bool(done)

    begin = clock.now_ms()
    assert engine.run(until, deadline_ms=begin + 50_000)
    thread.join(10)
    assert clock.now_ms() - begin < 30_000


def test_run_stops_at_its_deadline():
    """False, with nothing else to wait for."""
    bench = Bench()
    clock = WallClock()
    engine = bench.start(clock=clock, enable_message_timeouts=False)
    deadline_ms = clock.now_ms() + 20
    assert not engine.run(lambda: False, deadline_ms=deadline_ms)
    assert clock.now_ms() >= deadline_ms


def test_run_wakes_for_a_timer():
    """A component's `due_ms` is met in real time."""

    class Alarm(Part):
        def prepare(self, host):
            super().prepare(host)
            self.due_ms = host.now_ms() + 20

        def execute(self, tup):
            raise AssertionError

    bench = Bench().bolt("a", acks, make=lambda: Alarm(bench.trace))
    clock = WallClock()
    engine = bench.start(clock=clock)
    assert engine.run(lambda: bool(bench.seen("on_time")), deadline_ms=clock.now_ms() + 10_000)


def test_two_hundred_tasks_share_one_thread():
    """
    Each gets its share of a shuffle, and all is acked.
    """
    bench = Bench(range(1000)).bolt("a", acks, tasks=200)
    bench.start()
    bench.drain()

    assert 1000 == len(bench.seen("ack"))
    tasks = [task for name, task, what, _ in bench.trace if (name, what) == ("a", "execute")]
    assert {5} == set(Counter(tasks).values())
    assert 200 == len(set(tasks))


def test_the_ackers_memory_is_flat_in_the_length_of_the_stream():
    """
    What is acked is forgotten, by the acker and by the spout; so is what failed.
    """
    bench = Bench(range(5_000)).bolt("a", lambda bolt, tup: (acks if tup.values[0] % 7 else fails)(bolt, tup))
    engine = bench.start()
    bench.drain()

    assert 5_000 == len(bench.seen("ack") + bench.seen("fail"))
    assert 0 == len(engine._bus.acker)
    assert 0 == engine.waited_for


def fails(bolt, tup):
    bolt.host.fail(tup)
