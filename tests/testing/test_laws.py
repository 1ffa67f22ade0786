"""`aggregate_laws`: a sound aggregate passes, and each way to be broken is found."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from stormline.testing import aggregate_laws


class Longest:
    """Sound: the length of the longest text."""

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: str) -> int:
        return max(accumulator, len(value))

    def merge(self, left: int, right: int) -> int:
        return max(left, right)

    def result(self, accumulator: int) -> int:
        return accumulator


class Average:
    """Sound: exact sum by count."""

    def create(self) -> tuple[int, Decimal]:
        return (0, Decimal(0))

    def add(self, accumulator: tuple[int, Decimal], value: Decimal) -> tuple[int, Decimal]:
        return (accumulator[0] + 1, accumulator[1] + value)

    def merge(self, left: tuple[int, Decimal], right: tuple[int, Decimal]) -> tuple[int, Decimal]:
        return (left[0] + right[0], left[1] + right[1])

    def result(self, accumulator: tuple[int, Decimal]) -> Decimal | None:
        return accumulator[1] / accumulator[0] if accumulator[0] else None


texts = st.text("ab", max_size=4)


def test_sound_aggregates_pass() -> None:
    """
    Also with an accumulator of several values.
    """
    aggregate_laws(Longest(), values=texts)
    aggregate_laws(Average(), values=st.decimals(-1000, 1000, places=2))


class Latest(Longest):
    """The length of the latest text to arrive."""

    def add(self, accumulator: int, value: str) -> int:
        return len(value)

    def merge(self, left: int, right: int) -> int:
        return right


class MergesWrong(Longest):
    def merge(self, left: int, right: int) -> int:
        return left + right


class StartsWrong(Longest):
    """The shortest text, but at most 2."""

    def create(self) -> int:
        return 2

    def add(self, accumulator: int, value: str) -> int:
        return min(accumulator, len(value))

    def merge(self, left: int, right: int) -> int:
        return (left + right) // 2


class ChangesItsArgument:
    def create(self) -> list[str]:
        return []

    def add(self, accumulator: list[str], value: str) -> list[str]:
        accumulator.append(value)
        return accumulator

    def merge(self, left: list[str], right: list[str]) -> list[str]:
        return sorted(left + right)

    def result(self, accumulator: list[str]) -> list[str]:
        return sorted(accumulator)


class MergesInPlace(ChangesItsArgument):
    def add(self, accumulator: list[str], value: str) -> list[str]:
        return [*accumulator, value]

    def merge(self, left: list[str], right: list[str]) -> list[str]:
        left += right
        return left


class ForgetsItsType(Longest):
    """Says that its accumulator is any, and has a tuple: JSON knows lists."""

    def create(self) -> Any:
        return (0,)

    def add(self, accumulator: Any, value: str) -> Any:
        return (max(accumulator[0], len(value)),)

    def merge(self, left: Any, right: Any) -> Any:
        return max(left, right)

    def result(self, accumulator: Any) -> Any:
        return accumulator[0]


class CountsFloats:
    """A mean of means, which is none."""

    def create(self) -> float:
        return 0.0

    def add(self, accumulator: float, value: float) -> float:
        return (accumulator + value) / 2

    def merge(self, left: float, right: float) -> float:
        return (left + right) / 2

    def result(self, accumulator: float) -> float:
        return accumulator


class SaysNoType(Longest):
    def create(self):  # type: ignore[no-untyped-def]
        return 0


class NotAssociative(Longest):
    """The larger part counts double if it is the left one."""

    def merge(self, left: int, right: int) -> int:
        return max(left, right) + (left > right > 0)


@pytest.mark.parametrize(
    ("aggregate", "values", "told"),
    [
        (Latest(), texts, "the order of merge does not matter|create.. changes nothing|the order of records"),
        (MergesWrong(), texts, "merging two parts agrees with adding all"),
        (StartsWrong(), texts, "broken: "),
        (ChangesItsArgument(), texts, "add leaves its argument as it was"),
        (MergesInPlace(), texts, "merge leaves its arguments as they were"),
        (ForgetsItsType(), texts, "whose accumulator cannot be kept"),
        (CountsFloats(), st.floats(0, 9), "broken: "),
        (NotAssociative(), texts, "broken: "),
        (SaysNoType(), texts, "without a return annotation"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_each_broken_law_is_found(aggregate: Any, values: Any, told: str) -> None:
    """
    The message says which law, on small values.
    """
    with pytest.raises(AssertionError, match=told):
        aggregate_laws(aggregate, values=values)


def test_floats_may_agree_as_floats_do() -> None:
    """
    `same` says when two results are equal.
    """

    class Total:
        def create(self) -> float:
            return 0.0

        def add(self, accumulator: float, value: float) -> float:
            return accumulator + value

        merge = add

        def result(self, accumulator: float) -> float:
            return accumulator

    floats = st.floats(0, 1)
    aggregate_laws(Total(), values=floats, same=lambda one, other: math.isclose(one, other, rel_tol=1e-9))
    with pytest.raises(AssertionError, match="broken: "):
        aggregate_laws(Total(), values=floats, examples=1000)
