"""What docs/aggregates.md shows is run, and it names every aggregate there is."""

import re
import sys
import types
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import strategies as st

import stormline
from stormline.core import aggregate
from stormline.core.fold import Fold
from stormline.testing import Driver, aggregate_laws

TEXT = (Path(__file__).parents[1] / "docs" / "aggregates.md").read_text()


def test_the_code_shown_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its blocks in their order, as one module; then the test of the laws that it shows.
    """
    shown = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", shown)
    names = {name: getattr(stormline, name) for name in stormline.__all__}
    vars(shown).update(names, Decimal=Decimal, Driver=Driver, aggregate_laws=aggregate_laws, st=st)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/aggregates.md", "exec"), vars(shown))
    shown.test_longest()


def test_every_aggregate_is_in_the_table() -> None:
    """
    The public ones, and no others.
    """
    public = {
        name
        for name in aggregate.__all__
        if isinstance(getattr(aggregate, name), type) and issubclass(getattr(aggregate, name), Fold)
    }
    rows = re.findall(r"^\| (`[A-Z].*?) \| ", TEXT.partition("## What is estimated")[0], re.MULTILINE)

    assert public == set(re.findall(r"`(\w+)\(", " ".join(rows)))
    assert public <= set(stormline.__all__)
