"""Values of stock components, as the receiver gets them."""

import sys
from decimal import Decimal
from typing import NamedTuple

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from stormline.multilang.plain import NotData, plain
from stormline.multilang.traces import user_line

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
keys = st.text() | st.integers() | st.booleans() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner), max_leaves=8
)


class Pair(NamedTuple):
    one: int
    other: str


@given(emitted=st.lists(values) | st.tuples(values, values))
def test_values_are_what_pystorms_json_makes_of_them(emitted):
    """
    Tuples are lists, keys are texts, everything else is equal and of the same type.
    """
    expected = simplejson.loads(simplejson.dumps(emitted, namedtuple_as_object=False))
    got = plain(emitted)

    assert expected == got
    assert [type(value) for value in expected] == [type(value) for value in got]


def test_named_tuples_are_lists_and_decimals_numbers():
    """
    As stock components on Storm see them.
    """
    assert [[1, "a"], 1.25] == plain([Pair(1, "a"), Decimal("1.25")])


@pytest.mark.parametrize("value", [{1, 2}, b"\xff", float("nan"), float("inf"), object(), [{"a": 1j}]])
def test_what_json_cannot_hold_is_told_with_its_field_and_type(value):
    """
    Which field of the tuple, what it is, and of which type.
    """
    with pytest.raises(NotData, match=r"field 'count' is .*, of type ") as raised:
        plain(["fine", value], ["word", "count"])

    assert type(value).__name__ in str(raised.value)


def test_the_line_of_the_user_is_the_innermost_that_is_not_ours():
    """
    For messages about what user code emitted.
    """
    line = sys._getframe().f_lineno + 1
    assert user_line() == f"{__file__}:{line} (test_the_line_of_the_user_is_the_innermost_that_is_not_ours)"
