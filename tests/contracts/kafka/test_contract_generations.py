"""Generations of a group: who is in, who leads, and what one that is out is told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contracts.kafka.kafka_clients import Client
from tests.contracts.kafka.kafka_group import GroupMember
from tests.contracts.kafka.kafka_member import wait_until
from tests.contracts.kafka.kafka_wire import Wire, connected

pytestmark = pytest.mark.timeout(600)
ILLEGAL_GENERATION, INCONSISTENT, UNKNOWN_MEMBER, BAD_SESSION, REBALANCE, FENCED = 22, 23, 25, 26, 27, 82


@pytest.fixture
def other_wire(kafka: str) -> Iterator[Wire]:
    """A second connection: a join waits on its own."""
    with connected(kafka) as wire:
        yield wire


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """For the member whose join waits."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


def alone(wire: Wire, topic: str, **settings: object) -> GroupMember:
    """The one member of a stable group."""
    member = GroupMember(wire, f"group-of-{topic}", **settings)  # type: ignore[arg-type]
    assert member.join().error_code == 0
    assert member.sync({member.id: b"all"}).assignment == b"all"
    return member


def test_the_first_member_leads(wire: Wire, topic: str) -> None:
    """It gets the list of members with what they said, and its own assignment back."""
    member = GroupMember(wire, f"group-of-{topic}")

    answer = member.join(protocols=("range", "sticky"))

    assert (answer.leader, answer.protocol_name, answer.generation_id) == (member.id, "range", 1)
    assert [(row.member_id, row.metadata) for row in answer.members] == [(member.id, b"range")]
    assert member.sync({member.id: b"all"}).assignment == b"all"
    assert member.heartbeat() == 0


def test_a_second_member_makes_all_join_again(
    wire: Wire, other_wire: Wire, topic: str, beside: ThreadPoolExecutor
) -> None:
    """The first is told by its heartbeat, leads on, and alone gets the list; each gets its part."""
    first = alone(wire, topic)
    second = GroupMember(other_wire, first.group)
    joining = beside.submit(second.join)
    wait_until(lambda: first.heartbeat() == REBALANCE)

    led = first.join()
    followed = joining.result()

    assert (led.leader, followed.leader) == (first.id, first.id)
    assert (len(led.members), len(followed.members)) == (2, 0)
    assert first.generation == second.generation == 2
    waiting = beside.submit(second.sync)
    assert first.sync({first.id: b"one", second.id: b"two"}).assignment == b"one"
    assert waiting.result().assignment == b"two"


def test_a_protocol_that_all_know_is_taken(
    wire: Wire, other_wire: Wire, topic: str, beside: ThreadPoolExecutor
) -> None:
    """Also where it is the second choice of one; who knows none of the others' is turned away."""
    first = GroupMember(wire, f"group-of-{topic}")
    first.join(protocols=("new", "old"))
    first.sync({first.id: b""})
    second = GroupMember(other_wire, first.group)
    assert second.join(protocols=("strange",)).error_code == INCONSISTENT
    assert second.join(protocols=("old",), kind="connect").error_code == INCONSISTENT
    joining = beside.submit(second.join, protocols=("old",))
    wait_until(lambda: first.heartbeat() == REBALANCE)

    assert first.join(protocols=("new", "old")).protocol_name == "old"
    assert joining.result().protocol_name == "old"


def test_a_member_that_is_silent_is_out(wire: Wire, other_wire: Wire, topic: str, beside: ThreadPoolExecutor) -> None:
    """After its session time-out; the others go on without it, and it must begin anew."""
    silent = alone(wire, topic, session_ms=3_000)
    second = GroupMember(other_wire, silent.group)

    answer = second.join()  # waits until the silent one is given up

    assert (answer.error_code, answer.leader) == (0, second.id)
    assert silent.heartbeat() == UNKNOWN_MEMBER
    assert silent.commit(topic, 1) == UNKNOWN_MEMBER


def test_a_member_that_leaves_is_out_at_once(wire: Wire, topic: str) -> None:
    """What it says after that is not heard."""
    member = alone(wire, topic)

    assert member.leave() == 0

    assert member.heartbeat() == UNKNOWN_MEMBER
    assert member.leave() == UNKNOWN_MEMBER


def test_an_old_generation_commits_nothing(wire: Wire, either: Client, topic: str) -> None:
    """A member that has missed a rebalance cannot undo what the next one has committed."""
    member = alone(wire, topic)
    assert member.commit(topic, 5) == 0

    member.generation -= 1

    assert member.commit(topic, 3) == ILLEGAL_GENERATION
    assert member.heartbeat() == ILLEGAL_GENERATION
    assert either.committed(member.group, topic) == (5, "")


def test_a_session_has_bounds(wire: Wire, topic: str) -> None:
    """No time, or more than half an hour, is refused."""
    for session_ms in (0, 1_800_001):
        member = GroupMember(wire, f"group-of-{topic}", session_ms=session_ms)
        assert member.join().error_code == BAD_SESSION


def test_a_static_member_that_comes_back_keeps_its_place(wire: Wire, other_wire: Wire, topic: str) -> None:
    """Under a new id, with its assignment, and without a rebalance; its former self is fenced."""
    old = alone(wire, topic, instance="one")
    new = GroupMember(other_wire, old.group, instance="one")

    answer = new.join()

    assert answer.error_code == 0
    assert (new.id != old.id, new.generation) == (True, old.generation)
    assert new.sync().assignment == b"all"
    assert new.heartbeat() == 0
    assert old.heartbeat() == FENCED
    assert old.commit(topic, 1) == FENCED
