"""Fenced, killed and crashed tasks, and errors, on the inline engine."""

import pytest
from engine_parts import Bench, Numbers, Part, acks

from stormline.core.errors import Fenced, ServerError, StormlineError, UserCodeError
from stormline.core.status import Status


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


def test_a_verdict_for_a_dead_spout_does_not_reach_its_successor():
    """A bolt acks after the spout died and before it is made anew."""
    held = []
    bench = Bench([1]).bolt("a", lambda bolt, tup: held.append((bolt, tup)))
    engine = bench.start()
    bench.drain()

    def between():
        engine.kill_task(engine.deployment.tasks["spout"][0])
        bolt, tup = held[0]
        bolt.host.ack(tup)

    engine.post(between)
    bench.drain()
    assert bench.seen("ack") == bench.seen("fail") == []


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


def test_a_task_killed_in_its_own_call_may_still_raise_fenced():
    """It dies once, and is made anew once."""

    def dies_twice(bolt, tup):
        bench.engine.kill_task(bolt.host.context.task)
        raise Fenced("another owner")

    bench = Bench([1]).bolt("a", dies_twice)
    bench.start()
    bench.drain()
    assert bench.seen("fail") == ["1"]
    assert len(bench.seen("prepare", "a")) == 2


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


def test_an_exception_stops_the_engine_and_names_component_task_and_line():
    """The cause is chained; nothing is closed; no further step is taken."""

    def breaks(bolt, tup):
        return {}["no such key"]

    bench = Bench([1]).bolt("a", breaks)
    engine = bench.start()
    with pytest.raises(
        UserCodeError, match=r"a \(task 2\): KeyError: 'no such key' \(raised at .*test_engine_deaths.py:\d+\)"
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
