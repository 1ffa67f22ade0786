"""What docs/windows.md and docs/state.md show is run."""

import re
import sys
import types
from pathlib import Path

import pytest

import stormline
from stormline.core import window
from stormline.core.table import LATE_FIELDS, STREAMS, result_fields
from stormline.testing import Driver

DOCS = Path(__file__).parents[1] / "docs"
WINDOWS = (DOCS / "windows.md").read_text()


def run(page: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The blocks of a page in their order, as one module."""
    shown = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", shown)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{page}", "exec"), vars(shown))
    return shown


def test_the_windows_shown_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The topology of the page, fed: the final rows pass the filter below.
    """
    shown = run("windows.md", monkeypatch)
    tried = Driver(shown.Hours)
    for time, amount in ((0, 400), (1, 700), (2, 5)):
        tried.send({"time": time, "user_id": 1, "amount": amount})
    tried.end()
    assert [(3, "1105")] == [(row.values["trades"], row.values["amount"]) for row in tried.results("hourly")]
    assert 1 == tried.status()["large"][0].records_out
    alerts = Driver(shown.Exposure, schema=shown.Trade, event_time="time")
    alerts.send({"time": 0, "user_id": 1, "amount": 250_001})
    alerts.advance("1s")
    assert ["updates"] == [sent.stream for sent in alerts.out]


def test_the_state_shown_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The bolt of the page, and the test of it that the page shows.
    """
    run("state.md", monkeypatch)


def test_every_kind_of_window_is_in_the_table() -> None:
    """
    The public ones, and no others; and the fields of the streams are as they are.
    """
    kinds = {"calendar", *(name for name in vars(window) if name in stormline.__all__)}
    rows = re.findall(r"^\| `(\w+)\(", WINDOWS, re.MULTILINE)
    assert kinds == set(rows)
    for stream in STREAMS:
        assert f"| `{stream}` |" in WINDOWS
    assert f"`{', '.join(LATE_FIELDS)}`" in WINDOWS
    assert f"`{', '.join(result_fields(())[:-1])}`" in WINDOWS
