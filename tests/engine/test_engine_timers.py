"""Message timeouts, ticks and components' own timers on the inline engine."""

import pytest
from engine_parts import Acting, Bench, Part, acks, holds

from stormline.core.errors import Fenced


def test_a_tuple_that_nobody_acks_fails_between_one_and_two_timeouts():
    """
    Rotations at T and 2T; a tuple of the start fails at the second.
    """
    #  0         T         2T
    #  |---------|---------|
    #  ^ emitted           ^ failed
    bench = Bench([1]).bolt("a", holds)
    bench.start(message_timeout_secs=5)
    bench.drain()
    bench.clock.advance(5_000)
    bench.drain()
    assert bench.seen("fail") == []
    bench.clock.advance(4_999)
    bench.drain()
    assert bench.seen("fail") == []
    bench.clock.advance(1)
    bench.drain()
    assert bench.seen("fail") == ["1"]


def test_a_jump_of_the_clock_over_two_timeouts_fails_what_was_pending():
    """Rotations that were missed are made up for."""
    bench = Bench([1]).bolt("a", holds)
    bench.start(message_timeout_secs=5)
    bench.drain()
    bench.clock.advance(60_000)
    bench.drain()
    assert bench.seen("fail") == ["1"]


def test_an_ack_after_the_timeout_is_ignored():
    """The spout has heard of the failure; it hears nothing more of that tuple."""
    held = []
    bench = Bench([1]).bolt("a", lambda bolt, tup: held.append((bolt, tup)))
    engine = bench.start()
    bench.drain()
    bench.clock.advance(60_000)
    bench.drain()
    bolt, tup = held[0]
    engine.post(lambda: bolt.host.ack(tup))
    bench.drain()
    assert bench.seen("fail") == ["1"]
    assert bench.seen("ack") == []


def test_the_acker_forgets_what_nobody_acks():
    """Trees that never end leave memory after three timeouts."""
    bench = Bench(range(5)).bolt("a", holds)
    engine = bench.start(message_timeout_secs=5)
    bench.drain()
    assert len(engine._bus.acker) == 5
    bench.clock.advance(15_000)
    bench.drain()
    assert len(engine._bus.acker) == 0


def test_timeouts_can_be_turned_off():
    """`topology.enable.message.timeouts: false`."""
    bench = Bench([1]).bolt("a", holds)
    engine = bench.start(enable_message_timeouts=False)
    bench.drain()
    assert engine.due_ms() is None
    bench.clock.advance(600_000)
    bench.drain()
    assert bench.seen("fail") == []


def test_ticks_come_to_the_bolts_that_ask_for_them():
    """From `__system`, task -1, stream `__tick`, with the seconds as the value; the first after a full interval."""
    ticks = []

    def takes(bolt, tup):
        ticks.append(tup)
        bolt.host.ack(tup)

    bench = Bench().bolt("a", takes, conf={"topology.tick.tuple.freq.secs": 2}).bolt("b", takes)
    bench.start()
    bench.clock.advance(1_999)
    bench.drain()
    assert ticks == []
    bench.clock.advance(1)
    bench.drain()
    assert [tick[1:] for tick in ticks] == [("__system", "__tick", -1, [2])]
    assert bench.seen("execute", "b") == []


def test_ticks_for_the_whole_topology_come_to_all_bolts_and_no_spout():
    """On spouts Storm uses the same timer for time-outs and delivers nothing."""
    bench = Bench().bolt("a", acks, tasks=2).bolt("b", acks)
    bench.start(tick_tuple_freq_secs=3)
    bench.clock.advance(3_000)
    bench.drain()
    assert [name for name, _, what, _ in bench.trace if what == "execute"] == ["a", "a", "b"]


def test_missed_ticks_are_not_made_up_for():
    """A jump of the clock over ten intervals brings one tick, the next comes in the old rhythm."""
    bench = Bench().bolt("a", acks, conf={"topology.tick.tuple.freq.secs": 1})
    engine = bench.start()
    begin = bench.clock.now_ms()
    bench.clock.advance(10_500)
    bench.drain()
    assert bench.seen("execute", "a") == [1]
    assert engine.due_ms() == begin + 11_000


def test_a_task_made_anew_has_its_ticks_again():
    """Counted from its own preparation, also if no other timer is set."""
    bench = Bench().bolt("a", acks, conf={"topology.tick.tuple.freq.secs": 2})
    engine = bench.start(enable_message_timeouts=False)
    bench.drain()
    bench.clock.advance(1_000)
    engine.kill_task(engine.deployment.tasks["a"][0])
    assert engine.due_ms() is None
    bench.clock.advance(1_000)
    bench.drain()
    assert engine.due_ms() == bench.clock.now_ms() + 2_000
    bench.clock.advance(2_000)
    bench.drain()
    assert bench.seen("execute", "a") == [2]


@pytest.mark.parametrize("seed", range(8))
def test_a_task_that_dies_in_a_round_of_timers_gets_no_tick_of_that_round(seed):
    """Whichever of the two timers comes first."""

    class Mortal(Acting):
        def prepare(self, host):
            super().prepare(host)
            if len(self.trace) <= 2:
                self.due_ms = host.now_ms() + 1_000

        def on_time(self, now_ms):
            raise Fenced("another owner")

    tick = {"topology.tick.tuple.freq.secs": 1}
    bench = Bench().bolt("a", acks, conf=tick, make=lambda: Mortal(bench.trace, acks))
    bench.start(seed=seed)
    bench.clock.advance(1_000)
    bench.drain()
    assert bench.seen("execute", "a") == []
    assert len(bench.seen("prepare", "a")) == 2


def test_on_time_is_called_once_due_is_reached():
    """Not before; and `due_ms` of the engine names that moment."""

    def waits(bolt, tup):
        bolt.host.ack(tup)
        bolt.due_ms = bolt.host.now_ms() + 250

    bench = Bench([1]).bolt("a", waits)
    engine = bench.start()
    begin = bench.clock.now_ms()
    bench.drain()
    assert engine.due_ms() == begin + 250
    bench.clock.advance(249)
    bench.drain()
    assert bench.seen("on_time") == []
    bench.clock.advance(1)
    bench.drain()
    assert bench.seen("on_time") == [begin + 250]


def test_with_a_seed_timers_due_together_fire_in_any_order():
    """Storm promises none between two tasks."""

    def order(seed):
        class Alarm(Part):
            def prepare(self, host):
                super().prepare(host)
                self.due_ms = host.now_ms() + 10

        bench = Bench().bolt("a", acks, tasks=3, make=lambda: Alarm(bench.trace))
        bench.start(seed=seed)
        bench.clock.advance(10)
        bench.drain()
        return tuple(task for _, task, what, _ in bench.trace if what == "on_time")

    assert order(None) == (2, 3, 4)
    assert len({order(seed) for seed in range(10)}) > 1


def test_a_component_that_is_always_due_starves_nobody():
    """Tuples, posted calls and other timers go on beside it."""

    class Busy(Acting):
        due_ms = 0

        def on_time(self, now_ms):
            self.rounds = getattr(self, "rounds", 0) + 1

    bench = Bench(range(3)).bolt("a", acks)
    bench.bolt("b", acks, make=lambda: Busy(bench.trace, acks))
    engine = bench.start()
    posted = []
    engine.post(lambda: posted.append(1))
    for _ in range(100):
        engine.step()
    assert len(bench.seen("ack")) == 3
    assert posted == [1]
