"""Random histories of the protocol keep the invariants, and histories of a broken protocol do not.

I1 each output is counted once or late once. I2 nothing within the bound is late. I3 a final window changes only with a
higher revision. I4 nothing is claimed or committed that the server does not hold. I5 a spout does not run away from its
frontier. I6 when faults stop, everything comes to its end, and no alarm was false. I7 where no record came behind the
bound, the windows are those of one pass over all outputs. I8 each final row and late record is sent on, and what comes
again under its identity is the same.
"""

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pytest
from simulation.invariants import Violation
from simulation.server import Server
from simulation.world import World

from stormline.connectors import redis_commands
from stormline.core.deliveries import Deliveries
from stormline.core.frontier import Frontier
from stormline.core.included import Included
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.outbox import Outbox
from stormline.core.progress import ProgressView
from stormline.core.source import Source

SEEDS_A_TEST = 30


@pytest.mark.parametrize("first", range(1, 1 + 4 * SEEDS_A_TEST, SEEDS_A_TEST))
def test_every_history_keeps_the_invariants(server: Server, first: int) -> None:
    """
    Whatever dies, is delayed, doubled or lost: each record counts once, in time, and all of it comes to its end.
    """
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            World(seed, server).play()
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")


def _acks_on_arrival(patch: pytest.MonkeyPatch) -> None:
    apply = KeyedState.apply

    def at_once(state: KeyedState, batch: Any, held: Held) -> Any:
        broken = apply(state, batch, held)
        held.waits = 0
        return broken

    patch.setattr(KeyedState, "apply", at_once)


def _commits_what_was_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Source, "frontiers", lambda source: {p: f.position for p, f in source.partitions.items()})


def _forgets_what_is_included(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Included, "has", lambda included, lane, partition, offset: False)
    patch.setattr(Included, "touches", lambda included, lane, partition, first, last: False)


def _prunes_without_a_floor(patch: pytest.MonkeyPatch) -> None:
    apply = KeyedState.apply

    def without_floor(state: KeyedState, batch: Any, held: Held) -> Any:
        floor, state.view.floor = state.view.floor, {}
        try:
            return apply(state, batch, held)
        finally:
            state.view.floor = floor

    patch.setattr(KeyedState, "apply", without_floor)


def _confuses_lanes(patch: pytest.MonkeyPatch) -> None:
    for name in ("add", "has", "touches"):
        method = getattr(Included, name)
        patch.setattr(Included, name, lambda included, lane, *others, method=method: method(included, "", *others))


def _takes_its_own_tuples_for_all(patch: pytest.MonkeyPatch) -> None:
    add = Included.add

    def up_to_its_end(included: Included, lane: str, partition: str, first: int, last: int) -> None:
        add(included, lane, partition, 0, last)  # a high-water mark

    patch.setattr(Included, "add", up_to_its_end)


def _takes_older_flushes(patch: pytest.MonkeyPatch) -> None:
    script = redis_commands.SCRIPTS["flush"].replace("tonumber(ARGV[2]) <= tonumber(current[2] or '0')", "false")
    patch.setitem(redis_commands.SCRIPTS, "flush", script)


def _takes_flushes_of_anyone(patch: pytest.MonkeyPatch) -> None:
    script = redis_commands.SCRIPTS["flush"].replace("current[1] ~= ARGV[1]", "false")
    patch.setitem(redis_commands.SCRIPTS, "flush", script)


def _ignores_what_is_unacked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Frontier,
        "watermark_ms",
        lambda frontier, bound_ms: None if frontier.highest_ms is None else frontier.highest_ms - bound_ms,
    )


def _closes_before_all_are_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ProgressView, "complete", property(lambda view: bool(view._claims)))


def _takes_what_was_lost_for_delivered(patch: pytest.MonkeyPatch) -> None:
    hear = Deliveries.hear

    def all_arrived(deliveries: Deliveries, progress: Any) -> Any:
        arrived, lost = hear(deliveries, progress)
        return arrived + lost, []

    patch.setattr(Deliveries, "hear", all_arrived)


def _sends_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    take = Outbox.take

    def early(outbox: Outbox) -> Any:
        outputs, delivered = take(outbox)
        outbox.stored(outputs)
        return outputs, delivered

    patch.setattr(Outbox, "take", early)


def _forgets_what_was_to_be_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "__init__", partialmethod(_without_stored, Outbox.__init__))


def _without_stored(outbox: Outbox, init: Any, next_number: int = 0, stored: Any = None) -> None:
    init(outbox, next_number)


def _sends_older_changes_last(patch: pytest.MonkeyPatch) -> None:
    begin = KeyedState._begin

    def reversed_changes(state: KeyedState, *args: Any) -> Any:
        flush = begin(state, *args)
        flush.windows.reverse()
        return flush

    patch.setattr(KeyedState, "_begin", reversed_changes)


@pytest.mark.parametrize(
    ("defect", "invariants"),
    [
        (_takes_what_was_lost_for_delivered, "I8"),
        (_sends_before_it_is_durable, "I8"),
        (_forgets_what_was_to_be_sent, "I8 I6"),
        (_sends_older_changes_last, "I1 I3 I4 I6 I7 I8"),
        (_acks_on_arrival, "I4"),
        (_commits_what_was_read, "I4"),
        (_forgets_what_is_included, "I1 I3"),
        (_prunes_without_a_floor, "I1 I3"),
        (_confuses_lanes, "I4 I1"),
        (_takes_its_own_tuples_for_all, "I4 I1"),
        (_takes_older_flushes, "I1 I3 I4 I6 I8"),
        (_takes_flushes_of_anyone, "I1 I3 I4 I6 I8"),
        (_ignores_what_is_unacked, "I2 I3 I7 I8"),
        (_closes_before_all_are_heard, "I2 I3 I7 I8"),
    ],
)
def test_a_broken_rule_is_found(
    server: Server, monkeypatch: pytest.MonkeyPatch, defect: Callable[[pytest.MonkeyPatch], None], invariants: str
) -> None:
    """
    The histories are wild enough to catch each rule that is left out.
    """
    defect(monkeypatch)
    broken = Server(server.client)
    found = ""
    for seed in range(1, 150):
        try:
            World(seed, broken).play()
        except Violation as violation:
            found = str(violation)
            break

    assert found[:2] in invariants.split(), found
