"""Groupings: Java's hashes bit for bit, and who receives what."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormline.core.errors import UserCodeError
from stormline.engine.groupings import Grouping, chooser, fields_hash, java_hash, java_text, partial_key_candidates

VECTORS = [
    # values, hash, index among 4 tasks, among 7; printed by a JVM
    (["apple"], 93029241, 1, 4),
    ([""], 31, 3, 3),
    (["żółw"], 11564235, 3, 4),
    (["\U0001f600"], 1772930, 2, 5),
    (["a", "b"], 4066, 2, 6),
    (["user-42", 7], -267694072, 0, 5),
    ([1], 32, 0, 4),
    ([-1], 30, 2, 2),
    ([9223372036854775808], -2147483617, 3, 1),
    ([2147483648], -2147483617, 3, 1),
    ([1.5], 1073217567, 3, 2),
    ([-0.25], -1076887521, 3, 4),
    ([0.30000000000000004], 691387331, 3, 5),
    ([True], 1262, 2, 2),
    ([False], 1268, 0, 1),
    ([None], 31, 3, 3),
    ([[1, 2]], 1025, 1, 3),
    ([{"k": 1}], 137, 1, 4),
]


@pytest.mark.parametrize(("values", "expected", "of_4", "of_7"), VECTORS)
def test_fields_grouping_finds_the_task_that_the_jvm_finds(values, expected, of_4, of_7):
    """The hash is Java's, and its floor modulo picks among the ascending task ids."""
    assert fields_hash(values) == expected
    names = tuple("abc"[: len(values)])
    for count, index in ((4, of_4), (7, of_7)):
        choose = chooser(Grouping("fields", names), names, range(10, 10 + count), Random(0))
        assert list(choose(values)) == [10 + index]


@pytest.mark.parametrize(("key", "candidates"), [("apple", (4, 3)), ("banana", (3, 1)), ("user-42", (2, 4))])
def test_partial_key_candidates_are_those_of_javas_random(key, candidates):
    """The two candidates among five tasks, as a JVM printed them."""
    assert partial_key_candidates(key.encode(), 5) == candidates


def test_partial_key_takes_the_less_used_of_two_and_the_first_on_a_tie():
    """Four tuples of one key alternate between its candidates, beginning with the first."""
    choose = chooser(Grouping("partial_key"), ("key",), range(5), Random(0))
    assert [choose(["apple"])[0] for _ in range(4)] == [4, 3, 4, 3]


@given(st.lists(st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_a_hash_is_a_signed_32_bit_number(values):
    """Whatever JSON values come, the hash stays a Java int, also nested."""
    assert -(1 << 31) <= fields_hash(values) < 1 << 31
    assert java_hash(values) == fields_hash(values)


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_small_int_is_its_own_hash(value):
    """Integer.hashCode."""
    assert java_hash(value) == value


@given(st.integers(1 << 63, 1 << 200))
def test_a_big_negative_int_hashes_to_the_opposite(value):
    """BigInteger.hashCode is the hash of the magnitude times the sign, in 32 bits."""
    assert (java_hash(value) + java_hash(-value)) % (1 << 32) == 0


def test_fields_grouping_reads_the_named_fields_in_their_order():
    """Grouping by (second, first) hashes those two, and nothing else."""
    choose = chooser(Grouping("fields", ("b", "a")), ("a", "b", "c"), range(1000), Random(0))
    assert choose(("x", "y", object()))[0] == fields_hash(["y", "x"]) % 1000


def test_a_value_that_json_does_not_know_is_refused_by_name():
    """Bytes cannot be grouped: the error shows them and their type."""
    with pytest.raises(UserCodeError, match=r"b'x' of type bytes"):
        fields_hash([b"x"])


@pytest.mark.parametrize("kind", ["shuffle", "local_or_shuffle"])
@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_shuffle_is_even(kind, tasks):
    """Of 4 n tuples each of n tasks receives 4."""
    choose = chooser(Grouping(kind), (), range(tasks), Random(7))
    assert Counter(choose(())[0] for _ in range(4 * tasks)) == dict.fromkeys(range(tasks), 4)


def test_shuffle_has_the_order_of_its_seed():
    """The same seed gives the same order; some other seed another."""

    def order(seed):
        choose = chooser(Grouping("shuffle"), (), range(9), Random(seed))
        return [choose(())[0] for _ in range(9)]

    assert order(1) == order(1)
    assert any(order(1) != order(seed) for seed in range(2, 6))


def test_global_goes_to_the_lowest_task_and_all_to_every_one():
    """Task ids ascend."""
    assert list(chooser(Grouping("global"), (), (3, 4, 5), Random(0))(())) == [3]
    assert list(chooser(Grouping("all"), (), (3, 4, 5), Random(0))(())) == [3, 4, 5]


def test_none_picks_any_task():
    """Each of three tasks is hit within 100 draws."""
    choose = chooser(Grouping("none"), (), (3, 4, 5), Random(0))
    assert {choose(())[0] for _ in range(100)} == {3, 4, 5}


def test_direct_leaves_the_choice_to_the_sender():
    """There is no rule to choose by."""
    assert chooser(Grouping("direct"), (), (3,), Random(0)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e300, "1.0E300"),
        (5e-324, "4.9E-324"),
        (1e-4, "1.0E-4"),
        (123456789.5, "1.234567895E8"),
        (-2.5e-10, "-2.5E-10"),
        (1e7, "1.0E7"),
        (9999999.0, "9999999.0"),
        (0.001, "0.001"),
        (-0.0, "-0.0"),
        (0.30000000000000004, "0.30000000000000004"),
        (7, "7"),
        (True, "true"),
        (["a/b", {"k": 1}], '["a\\/b",{"k":1}]'),
    ],
)
def test_texts_of_values_are_those_of_the_jvm(value, text):
    """
    What the partial key grouping hashes: `toString` of a Double, a JSON array and a JSON object.
    """
    assert text == java_text(value)
