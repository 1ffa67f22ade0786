"""State by key for a user's own function: counted once, timers called once, what is sent has one identity."""

from collections.abc import Iterator
from typing import Any

import pytest

from stormline import Cancel, FilterBolt, Forget, KafkaSpout, ProcessBolt, Record, SettingsError, State, Timer, Topology
from stormline.testing import Driver


class Move(Record):
    at: int
    by: int
    user: str = "ann"


class Balance(State):
    total: int = 0
    moves: list[int] = []


class Passed(Record):
    user: str
    total: int


class Balances(ProcessBolt):
    key = "user"
    state = Balance
    schema = Passed

    def process(self, move: Move, balance: Balance) -> Iterator[Any]:  # type: ignore[override]
        balance.moves.append(move.by)
        if move.by == 13:
            yield Passed("never", 0)
            raise ValueError("unlucky")
        before, balance.total = balance.total, balance.total + move.by
        if before < 10 <= balance.total:
            yield Passed(move.user, balance.total)


class Short(Balances):
    expire_after = "100ms"


class Odd(Balances):
    def process(self, move: Move, balance: Balance) -> Iterator[Any]:
        yield "what"


class Returns(Balances):
    def process(self, move: Move, balance: Balance) -> Any:
        return Passed(move.user, 1)


class Half(Balances):
    """An amount of 3 makes the total a fraction, which is no int."""

    def process(self, move: Move, balance: Balance) -> Iterator[Any]:
        balance.total += 0.5 if move.by == 3 else move.by  # type: ignore[assignment]
        yield from ()


class At(Balances):
    """A timer so many ms since the epoch."""

    def process(self, move: Move, balance: Balance) -> Iterator[Any]:
        balance.total += 1
        yield Timer("set", at=1.5 if move.by == 3 else move.by)  # type: ignore[arg-type]

    def on_timer(self, timer: Any, balance: Balance) -> Iterator[Any]:
        yield Passed(timer.key, timer.time_ms)


class Once(Balances):
    """A timer 150 ms after each record, of a key that is forgotten after 100."""

    expire_after = "100ms"

    def process(self, move: Move, balance: Balance) -> Iterator[Any]:
        yield Timer("late", after="150ms")
        yield Timer("early", after="50ms")

    def on_timer(self, timer: Any, balance: Balance) -> Iterator[Any]:
        yield Passed(timer.name, timer.time_ms)


class Again(Balances):
    """A timer that sets itself anew for the time at which it is called."""

    def process(self, move: Move, balance: Balance) -> Iterator[Any]:
        yield Timer("again", after="5ms")

    def on_timer(self, timer: Any, balance: Balance) -> Iterator[Any]:
        yield Timer("again", at=timer.time_ms)


class Idle(State):
    records: int = 0
    fired: int = 0


class Note(Record):
    name: str
    at: int
    records: int


class Watch(ProcessBolt):
    """A timer ten ms after the latest record of a user; -1 cancels it, -2 forgets the user, -3 is one by the clock."""

    key = "user"
    state = Idle
    schema = Note

    def process(self, move: Move, idle: Idle) -> Iterator[Any]:  # type: ignore[override]
        idle.records += 1
        if move.by == -1:
            yield Cancel("idle")
        elif move.by == -2:
            yield Forget()
        elif move.by == -3:
            yield Timer("clock", after="1m", time="processing")
        else:
            yield Timer("idle", after="10ms")

    def on_timer(self, timer: Any, idle: Idle) -> Iterator[Any]:
        if idle.records == 13:
            raise ValueError("unlucky")
        idle.fired += 1
        yield Note(timer.name, timer.time_ms, idle.records)


def driver(bolt: type, **settings: Any) -> Driver:
    return Driver(bolt, schema=Move, event_time="at", **settings)


def states(tried: Driver) -> dict[str, Any]:
    return {row.key: row.values for row in tried.results()}


def sent(tried: Driver) -> list[dict[str, Any]]:
    """Each identity once; what came again must be the same."""
    found: dict[str, dict[str, Any]] = {}
    for each in tried.out:
        assert each.values == found.setdefault(each.values["id"], each.values)
    return [{name: value for name, value in values.items() if name != "id"} for values in found.values()]


def feed(tried: Driver, *moves: Move) -> None:
    for move in moves:
        tried.send(move)
    tried.advance("1s")


def test_each_record_changes_the_state_of_its_key_once() -> None:
    """
    Crashes, deaths, lost flushes and answers in between: the state is that of one pass, the output is sent as one.
    """
    tried = driver(Balances)
    feed(tried, Move(1, 4), Move(2, 5, "bob"))
    tried.crash()
    tried.lose_next_reply()
    feed(tried, Move(3, 7))
    tried.kill("bolt")
    tried.lose_next_flush()
    feed(tried, Move(4, 1))
    tried.advance("10s")

    assert {"ann": {"total": 12, "moves": [4, 7, 1]}, "bob": {"total": 5, "moves": [5]}} == states(tried)
    assert [{"user": "ann", "total": 11}] == sent(tried)


def test_a_record_on_which_the_function_raises_changes_nothing() -> None:
    """
    Not the state, though the function had changed it, and nothing is sent; it is a dead letter.
    """
    tried = driver(Balances)
    feed(tried, Move(1, 4), Move(2, 13), Move(3, 1))

    assert {"ann": {"total": 5, "moves": [4, 1]}} == states(tried)
    assert [] == sent(tried)
    (letter,) = tried.dead_letters()
    assert "unlucky" in str(letter)


def test_a_timer_is_called_once_when_the_watermark_has_come() -> None:
    """
    Moved by each record of its key; called once although the process dies before and after.
    """
    tried = driver(Watch)
    feed(tried, Move(0, 1), Move(5, 1))
    tried.crash()
    feed(tried, Move(14, 1, "bob"))
    assert [] == sent(tried)
    feed(tried, Move(15, 1, "bob"))
    tried.crash()
    tried.kill("bolt")
    feed(tried, Move(16, 1, "bob"))
    assert [{"name": "idle", "at": 15, "records": 2}] == sent(tried)
    assert {"records": 2, "fired": 1} == states(tried)["ann"]


def test_timers_are_called_at_the_end_of_the_input() -> None:
    """
    The end of a bounded input is the end of waiting.
    """
    tried = driver(Watch)
    feed(tried, Move(0, 1))
    tried.end()
    assert [{"name": "idle", "at": 10, "records": 1}] == sent(tried)


def test_a_timer_for_what_is_past_is_called_at_once() -> None:
    """
    No record has to come for it, and the end of the input does not wait for ever.
    """
    tried = driver(At)
    feed(tried, Move(1000, 2000))
    feed(tried, Move(1000, 500))
    assert [{"user": "ann", "total": 500}] == sent(tried)
    tried.end()
    assert [{"user": "ann", "total": 500}] == sent(tried)


def test_what_could_not_be_read_again_is_a_dead_letter() -> None:
    """
    The record that brings it, and no later one: not a state of other types, nor a timer for no whole number.
    """
    for bolt, told in ((Half, "Balance cannot be kept"), (At, "give a datetime, or whole ms")):
        tried = driver(bolt)
        feed(tried, Move(1, 1), Move(2, 3), Move(3, 1))
        tried.crash()
        feed(tried, Move(4, 1))
        assert 3 == states(tried)["ann"]["total"]
        (letter,) = tried.dead_letters()
        assert told in str(letter)


def test_a_timer_is_cancelled_and_a_key_forgotten() -> None:
    """
    Nothing is called then, and nothing of the key is left.
    """
    tried = driver(Watch)
    feed(tried, Move(0, 1), Move(1, -1), Move(2, 1, "bob"), Move(3, -2, "bob"), Move(100, -1, "cyd"))
    tried.crash()
    tried.end()
    assert [] == sent(tried)
    assert {"ann", "cyd"} == states(tried).keys()


def test_a_timer_by_the_clock_is_called_by_the_clock() -> None:
    """
    Wall time alone; no record is needed.
    """
    tried = driver(Watch)
    feed(tried, Move(0, -3))
    tried.advance("50s")
    assert [] == sent(tried)
    tried.crash()
    tried.advance("20s")
    assert ["clock"] == [note["name"] for note in sent(tried)]


def test_a_timer_that_raises_is_a_dead_letter_and_is_not_called_again() -> None:
    """
    The state stays as it was.
    """
    tried = driver(Watch)
    feed(tried, *(Move(0, 1) for _ in range(13)), Move(100, -1, "bob"))
    tried.crash()
    feed(tried, Move(200, -1, "bob"))
    assert {"records": 13, "fired": 0} == states(tried)["ann"]
    (letter,) = tried.dead_letters("bolt")
    assert "the timer idle" in str(letter)


def test_a_key_without_records_is_forgotten() -> None:
    """
    After so much event time it leaves memory and store; what comes then begins anew.
    """
    tried = driver(Short)
    feed(tried, Move(0, 4), Move(50, 1), Move(149, 5, "bob"))
    assert {"ann", "bob"} == states(tried).keys()
    feed(tried, Move(160, 5, "bob"))
    assert {"bob"} == states(tried).keys()
    feed(tried, Move(170, 2))
    assert 2 == states(tried)["ann"]["total"]


@pytest.mark.parametrize("steps", [[60, 120, 180, 240], [240]])
def test_which_timers_an_expired_key_has_does_not_depend_on_how_time_goes(steps: list[int]) -> None:
    """
    What was to be called before it was forgotten is called, and nothing after, if the watermark comes in one step too.
    """
    tried = driver(Once)
    feed(tried, Move(0, 1))
    for at in steps:
        feed(tried, Move(at, 1, "bob"))
    assert [{"user": "early", "total": 50}] == [note for note in sent(tried) if note["total"] < 100]
    assert {"bob"} == states(tried).keys()
    assert not [note for note in sent(tried) if note == {"user": "late", "total": 150}]


def test_a_timer_that_sets_itself_for_the_same_time_is_a_dead_letter() -> None:
    """
    It would be called for ever.
    """
    tried = driver(Again)
    feed(tried, Move(0, 1), Move(100, 1, "bob"))
    (letter,) = tried.dead_letters("bolt")
    assert "called for ever" in str(letter)


class Moves(KafkaSpout):
    topic = "moves"
    schema = Move
    event_time = "at"


class Large(FilterBolt):
    def keep(self, passed: Passed) -> bool:
        return passed.total > 5


class Tree(Topology):
    moves = Moves.spec()
    balances = Balances.spec(inputs=[moves])
    large = Large.spec(inputs=[balances])


def test_a_bolt_below_reads_what_is_sent_without_saying_what_it_is() -> None:
    """
    The schema of what the bolt above sends is known.
    """
    tried = Driver(Tree)
    feed(tried, Move(1, 4), Move(2, 7))
    tried.end()
    assert 1 == tried.status()["large"][0].records_in


class Alone(Topology):
    moves = Moves.spec()
    balances = Balances.spec(inputs=[moves])


def test_what_nobody_reads_is_not_kept_for_sending() -> None:
    """
    The run comes to its end, and nothing of it is in the store.
    """
    tried = Driver(Alone)
    feed(tried, Move(1, 4), Move(2, 7))
    tried.end()
    assert {"ann": {"total": 11, "moves": [4, 7]}} == states(tried)
    assert not any(slot.outputs for slot in tried.store.slots.values())


def test_a_keyed_bolt_cannot_stand_below_a_keyed_bolt() -> None:
    """
    Not at once, and not behind a filter: what comes again would be counted twice.
    """
    for above in ([Tree.balances], [Tree.large]):
        with pytest.raises(SettingsError, match="below the keyed bolt Balances"):
            type("Again", (ProcessBolt,), {"state": Balance, "process": lambda *_: None}).spec(inputs=above)


def test_what_is_missing_or_wrong_is_told_at_once() -> None:
    """
    A state without defaults when the class is made; a bolt without state or function when it is wired.
    """

    class Bare(State):
        total: int

    with pytest.raises(SettingsError, match="each field needs a default"):
        type("Wrong", (ProcessBolt,), {"state": Bare})
    with pytest.raises(SettingsError) as caught:
        type("Empty", (ProcessBolt,), {}).spec(inputs=[Tree.moves])
    assert "needs the setting state" in str(caught.value)
    assert "needs a method process" in str(caught.value)


def test_something_else_that_is_yielded_is_a_dead_letter() -> None:
    """
    Only records of the schema, timers, and their like; and they are yielded, not returned.
    """
    for bolt, told in ((Odd, "'what' was yielded"), (Returns, "was returned; what is to be sent")):
        tried = driver(bolt)
        feed(tried, Move(1, 1))
        assert told in str(tried.dead_letters()[0])
