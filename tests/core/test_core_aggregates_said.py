"""How an aggregate is told in the fingerprint of a topology: in full, and the same in each process."""

import re
import subprocess
import sys
from typing import Any

import pytest
from core.aggregates import Longest, worth

from stormline import Count, Quantiles, StdDev, Sum
from stormline.core.own import said_aggregate

SHOWN: list[tuple[Any, str]] = [
    (Count(), "Count()"),
    (Sum("price"), "Sum('price')"),
    (Sum(worth, where="human"), "Sum(core.aggregates.worth, where='human')"),
    (Quantiles("price", [0.5]), "Quantiles('price', fractions=(0.5,))"),
    (StdDev("price", population=True), "StdDev('price', population=True)"),
    (Longest(), "core.aggregates.Longest(value='user')"),
]


@pytest.mark.parametrize(("aggregate", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_an_aggregate_is_told_in_full(aggregate: Any, shown: str) -> None:
    """
    The fingerprint of a topology is made of it.
    """
    assert shown == said_aggregate(aggregate)


def test_a_lambda_is_told_by_its_code() -> None:
    """
    The same in each process, another if the code is another.
    """
    code = "from stormline import Sum; print(Sum(lambda t: t.a * 2), Sum(lambda t: t.a * 3), Sum(lambda t: t.b * 2))"
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }

    assert 1 == len(runs)
    assert 3 == len(set(re.findall(r"<lambda (\w+)>", runs.pop())))
