"""The inline engine, rule by rule. Time stands still unless a test moves its clock."""

import threading

import pytest
from engine_parts import SHUFFLE, Acting, Bench, Numbers, Part, acks, holds, relays

from stormline.core.errors import Fenced, ServerError, StormlineError, UserCodeError
from stormline.core.status import Status
from stormline.engine.clock import WallClock
from stormline.engine.groupings import Grouping
from stormline.engine.topology import StreamSpec

DIRECT = Grouping("direct")


def fails(bolt, tup):
    bolt.host.fail(tup)


# Life cycle


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


# Anchors, acks, fails


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


# Emitting


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


# Order


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


# Timers


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


# Posts


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


# Death


def fenced_on(number):
    """Fenced once it meets `number`; holds everything else."""

    def act(bolt, tup):
        if tup.values[0] == number:
            raise Fenced("slot 3 has another owner")

    return act


def test_a_fenced_task_is_made_anew_and_all_it_held_fails():
    """Held and just received tuples fail at once; the new incarnation is prepared and takes what comes next."""
    bench = Bench([1, 2, 3]).bolt("a", fenced_on(2))
    bench.start()
    bench.drain()
    assert sorted(bench.seen("fail")) == ["1", "2"]
    assert len(bench.seen("prepare", "a")) == 2
    assert bench.seen("execute", "a") == [1, 2, 3]
    assert bench.seen("close") == []


def test_a_fenced_spout_is_activated_again():
    """Made anew, prepared and activated, in this order."""

    class Fragile(Numbers):
        def next_tuple(self):
            if self.waiting and self.waiting[0] == 2:
                self.waiting.popleft()
                raise Fenced("another owner")
            return super().next_tuple()

    bench = Bench([1, 2, 3], make=lambda: Fragile(bench.trace, bench.waiting)).bolt("a", acks)
    bench.start()
    bench.drain()
    life = [what for name, _, what, _ in bench.trace if name == "spout" and what in ("prepare", "activate", "emit")]
    assert life == ["prepare", "activate", "emit", "prepare", "activate", "emit"]


def test_killing_a_bolt_fails_what_is_queued_for_it():
    """Two tuples wait for `a` when it dies: both fail, none is delivered to the dead or the new one."""

    class Pair(Numbers):
        def next_tuple(self):
            return super().next_tuple() and super().next_tuple()

    bench = Bench([1, 2], make=lambda: Pair(bench.trace, bench.waiting)).bolt("a", acks)
    engine = bench.start()
    engine.step()
    assert bench.seen("emit") == [1, 2]
    engine.kill_task(engine.deployment.tasks["a"][0])
    bench.drain()
    assert bench.seen("fail") == ["1", "2"]
    assert bench.seen("execute") == []


def test_a_killed_spout_hears_nothing_of_its_former_life():
    """Its tuples are still delivered, as late copies; the new incarnation gets no ack of them."""
    bench = Bench([1]).bolt("a", acks)
    engine = bench.start()
    engine.step()
    engine.kill_task(engine.deployment.tasks["spout"][0])
    bench.drain()
    assert bench.seen("execute") == [1]
    assert bench.seen("ack") == bench.seen("fail") == []
    assert len(bench.seen("activate")) == 2


def test_a_completion_on_its_way_to_a_killed_spout_is_gone():
    """The ack was decided before the kill, not yet delivered."""
    bench = Bench([1])
    engine = bench.start()
    engine.step()
    engine.kill_task(engine.deployment.tasks["spout"][0])
    bench.drain()
    assert bench.seen("ack") == []


def test_the_dead_have_no_effect():
    """Posts, emits, acks and fails of a dead incarnation do nothing, also if they come later."""
    hosts = []

    def keeps(bolt, tup):
        hosts.append((bolt.host, tup))
        bolt.host.post(lambda: bench.trace.append(("a", 0, "posted", None)))

    bench = Bench([1]).bolt("a", keeps).bolt("b", acks, source="a")
    engine = bench.start()
    while not hosts:
        engine.step()
    engine.kill_task(engine.deployment.tasks["a"][0])
    host, tup = hosts[0]
    host.emit((9,), anchors=[tup])
    host.ack(tup)
    host.fail(tup)
    host.post(lambda: bench.trace.append(("a", 0, "posted", None)))
    bench.drain()
    assert bench.seen("posted") == []
    assert bench.seen("execute", "b") == []
    assert bench.seen("fail") == ["1"]


def test_a_task_may_be_killed_from_within_its_own_call():
    """What it does in the rest of that call has no effect."""

    def dies(bolt, tup):
        bench.engine.kill_task(bolt.host.context.task)
        bolt.host.emit(tup.values, anchors=[tup])
        bolt.host.ack(tup)

    bench = Bench([1]).bolt("a", dies).bolt("b", acks, source="a")
    bench.start()
    bench.drain()
    assert bench.seen("fail") == ["1"]
    assert bench.seen("execute", "b") == []


def test_killing_a_task_that_does_not_run_is_refused():
    """The ackers are not hosted; the error lists what is."""
    bench = Bench()
    engine = bench.start()
    with pytest.raises(StormlineError, match=r"no task 1 is running; running are \[2\]"):
        engine.kill_task(1)


def test_a_crash_ends_everything_without_a_word():
    """Nothing is closed or called any more; the engine refuses to step; posts have no effect."""
    hosts = []
    bench = Bench([1]).bolt("a", lambda bolt, tup: hosts.append(bolt.host))
    engine = bench.start()
    bench.drain()
    before = list(bench.trace)
    engine.crash()
    hosts[0].post(lambda: bench.trace.append("posted"))
    hosts[0].emit((1,))
    engine.close()
    assert bench.trace == before
    with pytest.raises(StormlineError, match="is crashed"):
        engine.step()


# Errors


def test_an_exception_stops_the_engine_and_names_component_task_and_line():
    """The cause is chained; nothing is closed; no further step is taken."""

    def breaks(bolt, tup):
        return {}["no such key"]

    bench = Bench([1]).bolt("a", breaks)
    engine = bench.start()
    with pytest.raises(
        UserCodeError, match=r"a \(task 2\): KeyError: 'no such key' \(raised at .*test_engine_inline.py:\d+\)"
    ) as caught:
        bench.drain()
    assert isinstance(caught.value.__cause__, KeyError)
    engine.close()
    assert bench.seen("close") == []
    with pytest.raises(StormlineError, match=r"is stopped by an error in a \(task 2\)"):
        engine.step()


def test_an_error_of_our_own_passes_as_it_is_with_a_note():
    """Its exit code and its words stay; the note names component and task."""

    def breaks(bolt, tup):
        raise ServerError("Redis at 6379 refuses")

    bench = Bench([1]).bolt("a", breaks)
    bench.start()
    with pytest.raises(ServerError, match="Redis at 6379 refuses") as caught:
        bench.drain()
    assert caught.value.__notes__ == ["in a (task 2)"]


def test_an_exception_in_a_posted_call_or_at_the_start_is_named_too():
    """Every call into a component is guarded alike."""

    class Stillborn(Part):
        def prepare(self, host):
            raise ValueError("no brokers")

    bench = Bench().bolt("a", acks, make=lambda: Stillborn(bench.trace))
    with pytest.raises(UserCodeError, match=r"a \(task 2\): ValueError: no brokers"):
        bench.start()


def test_report_error_is_logged_with_the_component(caplog):
    """And the component goes on."""

    def reports(bolt, tup):
        bolt.host.report_error("odd")
        bolt.host.ack(tup)

    bench = Bench([1]).bolt("a", reports)
    bench.start()
    bench.drain()
    assert "a (task 2): odd" in caplog.text
    assert bench.seen("ack") == ["1"]


def test_a_setting_that_storm_ignores_on_a_component_is_said_aloud(caplog):
    """Storm drops it in silence."""
    Bench().bolt("a", acks, conf={"topology.message.timeout.secs": 3}).start()
    assert "a: Storm ignores topology.message.timeout.secs" in caplog.text


def test_status_of_a_task_that_died_says_so():
    """Until it is made anew, which is the next thing the engine does."""
    bench = Bench().bolt("a", acks)
    engine = bench.start()
    engine.kill_task(engine.deployment.tasks["a"][0])
    assert engine.status()["a"] == [Status(trouble="died; is made anew")]
    assert not engine.settled()
    bench.drain()
    assert engine.status()["a"] == [Status(settled=True)]
