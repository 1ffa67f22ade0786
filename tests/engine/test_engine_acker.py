"""The XOR acker and the rotating map."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from stormline.engine.acker import Acker, RotatingMap, Verdict


@st.composite
def trees(draw):
    """The messages that a random tuple tree makes: one init, and an ack for each tuple, in any order."""
    random = Random(draw(st.integers(0, 1 << 32)))
    first = [random.getrandbits(64) for _ in range(draw(st.integers(1, 4)))]
    init, acks, open_edges = 0, [], list(first)
    for edge in first:
        init ^= edge
    while open_edges:
        edge = open_edges.pop()
        made = 0
        for _ in range(draw(st.integers(0, 2)) if len(acks) < 12 else 0):
            child = random.getrandbits(64)
            made ^= child
            open_edges.append(child)
        acks.append(edge ^ made)
    return draw(st.permutations([("init", init), *(("ack", edges) for edges in acks)]))


def tell(acker, message):
    kind, edges = message
    return acker.init(1, edges, 9) if kind == "init" else acker.ack(1, edges)


@given(trees())
def test_a_tree_is_acked_exactly_when_all_of_it_is_acked(messages):
    """In whatever order the messages come, the last one, and no earlier one, brings the ack."""
    acker = Acker()
    verdicts = [tell(acker, message) for message in messages]
    assert verdicts == [None] * (len(messages) - 1) + [Verdict(1, 9, acked=True)]
    assert len(acker) == 0


@given(trees(), st.data())
def test_a_tree_with_one_failed_tuple_fails_and_never_acks(messages, data):
    """One ack is replaced by a fail: one verdict, a failure, as soon as both the fail and the init are there."""
    at = data.draw(st.sampled_from([at for at, (kind, _) in enumerate(messages) if kind == "ack"]))
    init_at = messages.index(next(message for message in messages if message[0] == "init"))
    acker = Acker()
    verdicts = [acker.fail(1) if index == at else tell(acker, message) for index, message in enumerate(messages)]
    assert [verdict for verdict in verdicts if verdict] == [Verdict(1, 9, acked=False)]
    assert verdicts[max(at, init_at)] is not None


def test_a_tuple_without_receivers_is_acked_by_its_init():
    """The XOR of nothing is zero."""
    assert Acker().init(1, 0, 9) == Verdict(1, 9, acked=True)


def test_a_late_ack_of_a_failed_tree_ends_nothing():
    """The tree is forgotten at its verdict."""
    acker = Acker()
    acker.init(1, 5, 9)
    assert acker.fail(1) == Verdict(1, 9, acked=False)
    assert acker.ack(1, 5) is None


def test_the_acker_forgets_after_three_rotations():
    """What never ends does not stay: two rotations keep it, the third lets it go."""
    acker = Acker()
    acker.init(1, 5, 9)
    acker.rotate()
    acker.rotate()
    assert len(acker) == 1
    acker.rotate()
    assert len(acker) == 0


def test_two_buckets_expire_an_entry_at_the_second_rotation():
    """Between one and two periods after it was added."""
    pending: RotatingMap[str, int] = RotatingMap(2)
    pending.add("old", 1)
    assert pending.rotate() == {}
    pending.add("young", 2)
    assert pending.rotate() == {"old": 1}
    assert (pending.get("old"), pending.get("young")) == (None, 2)


def test_an_entry_taken_out_does_not_expire():
    """Pop finds it in an older bucket too."""
    pending: RotatingMap[str, int] = RotatingMap(2)
    pending.add("key", 1)
    pending.rotate()
    assert pending.pop("key") == 1
    assert pending.pop("key") is None
    assert pending.rotate() == {}
