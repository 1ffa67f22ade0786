"""Storm's own windows as an oracle: where they mean the same as ours, the sets are equal.

Storm's window is (start, end], ours is [start, end): the same with each timestamp lowered by 1 ms. Storm's windows end
at multiples of the slide, ours begin there: the same with an offset. A case is used if its time is event time in ms, or
the order of arrival; Storm's windows by count over event time, and by count and time together, have no counterpart
here.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from simulation.outputs import Identities, Output

from stormline.core.aggregate import Aggregation
from stormline.core.batch import Batch, Rows
from stormline.core.keyed import KeyedState
from stormline.core.keyed_slot import Held
from stormline.core.progress import Claim, Progress, ProgressView
from stormline.core.requests import Applied, Loaded
from stormline.core.slot import slot_of
from stormline.core.table import Rules
from stormline.core.window import Sliding, Tumbling, count_window

CASES = {case["name"]: case for case in json.loads((Path(__file__).parent / "storm_windows.json").read_text())["cases"]}
KEY = '"k"'

NOT_THE_SAME = {
    "tumbling10_ts_equal_watermark_after_fire_is_lost": "Storm loses what comes just at the watermark; here it is late",
    "hopping_slide20_length10_gap_events_expire_unseen": "Storm drops what lies between two windows; here it is late",
    "two_streams_lag3": "Storm calls late what is behind the watermark though its window is open; here it counts",
    "tumbling10_ts_zero": "Storm's watermark begins at 0 and has to exceed it; here there is none at first",
    "count_len5_slide2_processing": "a size that is no multiple of the slide is refused here",
    "processing_count_len2_slide3": "a slide larger than the size is refused here: records would be in no window",
}
"""Cases whose difference is meant, with the reason."""


class Task:
    """One slot with one key, flushed after each step."""

    def __init__(self, case: dict[str, Any]) -> None:
        length, slide = case["length"], case["slide"]
        windower: Any = Tumbling(length) if length == slide else Sliding(length, slide, -length % slide)
        if case["kind"] == "count":
            windower = count_window(length, slide)
        rules = Rules("K", (windower,), Aggregation({"ids": Identities()}, Output))
        self._case = case
        self._state = KeyedState(rules, "me", ProgressView({"s": len(case["streams"])}))
        self._state.load(Loaded(slot_of(KEY), 0, {}, {}, None, 0, []))
        self._offsets = dict.fromkeys(case["streams"], 0)
        self._latest: dict[str, int] = {}
        self.results: dict[str, list[int]] = {}
        """Window -> ids, open ones too."""
        self._final: set[str] = set()
        self.fires: list[list[Any]] = []
        """Step, end, ids."""
        self.late: list[int] = []

    def step(self, number: int, kind: str, *values: Any) -> None:
        if kind == "event":
            stream, identity, time_ms = values
            offset, self._offsets[stream] = self._offsets[stream], self._offsets[stream] + 1
            rows = Rows([offset], [time_ms - 1], [Output(str(identity))], [KEY])
            self._state.apply(Batch(0, "lane", stream, rows), Held(number))
            self._latest[stream] = max(time_ms, self._latest.get(stream, time_ms))
        else:
            marks = {stream: latest - self._case["lag"] for stream, latest in self._latest.items()}
            if kind == "watermark":
                marks = dict.fromkeys(self._case["streams"], values[0])
            claims = tuple(
                Claim(stream, offset, 0, marks.get(stream), idle=False, ended=False)
                for stream, offset in self._offsets.items()
            )
            self._state.observe(Progress("s", 1, "i", number, len(claims), claims))
        self._flush(number)

    def _flush(self, number: int) -> None:
        for flush in self._state.flush():
            self.late += [int(msgspec.json.decode(raw)["record"]["id"]) for raw in flush.late_records.values()]
            for window in flush.windows:
                if window.stage == "inner" or "#" in window.name:
                    continue
                for result in window.results.values():
                    self.results[window.id] = sorted(map(int, msgspec.json.decode(result)["ids"]))
                if window.final and window.id not in self._final:
                    self._final.add(window.id)
                    end_ms = None if self._case["kind"] == "count" else window.end_ms
                    self.fires.append([number, end_ms, self.results[window.id]])
            self._state.flushed(flush.slot, Applied())


def played(name: str) -> Task:
    task = Task(CASES[name])
    for number, step in enumerate(CASES[name]["steps"]):
        task.step(number, *step)
    return task


@pytest.mark.parametrize("name", sorted(CASES.keys() - NOT_THE_SAME.keys()))
def test_windows_hold_what_storms_hold(name: str) -> None:
    """
    At the same step, with the same end, the same records; what is late there is late here.
    """
    task, case = played(name), CASES[name]
    assert [[step, end, sorted(ids)] for step, end, ids in case["fires"]] == task.fires
    assert sorted(case["late"]) == sorted(set(task.late))


@pytest.mark.parametrize("name", [name for name in NOT_THE_SAME if CASES[name]["kind"] == "time"])
def test_where_they_differ_nothing_is_lost(name: str) -> None:
    """
    Each record is in a window, or late.
    """
    task, case = played(name), CASES[name]
    shown = {identity for ids in task.results.values() for identity in ids} | set(task.late)
    assert {step[2] for step in case["steps"] if step[0] == "event"} == shown
    differs = task.fires != [[s, e, sorted(i)] for s, e, i in case["fires"]] or set(task.late) != set(case["late"])
    assert differs, f"{name} is the same now: take it off the list"
