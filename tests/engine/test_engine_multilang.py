"""The rules of the multilang pipe, one by one: children that write down what they hear, and say what a test wants."""

from __future__ import annotations

import json
import logging
import re
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engine_parts import Acting, Bench, holds
from test_engine_shell import SPEAKS, bench, run_until_acked

from stormline.engine.clock import WallClock
from stormline.engine.groupings import Grouping
from stormline.engine.shell import ShellBolt, ShellSpout
from stormline.engine.topology import StreamSpec
from stormline.engine.worker import Worker

HEARS = """
def note(what):
    with open("heard.jsonl", "a") as heard:
        heard.write(json.dumps(what) + "\\n")
"""
SPOUT = """
def commands():
    while True:
        yield read()
left = [{"id": 7, "tuple": [1]}, {"id": "x", "tuple": [2]}, {"id": 8, "tuple": [3]}]
"""
WITHIN_MS = 60_000
ENOUGH_S = 4
"""A subprocess time-out within which a child starts and answers, on a machine that is busy too."""
KILLED = r"said nothing for \d s and is killed"
"""It is looked for once a second, so that a second more may have gone by."""


def heard(folder: Path) -> list[Any]:
    """What the child wrote down."""
    path = folder / "heard.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def spout(folder: Path, code: str, act: Callable[[Acting, Any], None], **conf: Any) -> tuple[Bench, Worker]:
    """A spout that is this Python program, above a bolt."""
    (folder / "child.py").write_text(SPEAKS + HEARS + SPOUT + textwrap.dedent(code))
    made = Bench(make=partial(ShellSpout, [sys.executable, "child.py"], folder))
    made.bolt("a", act)
    return made, made.start(clock=WallClock(), **conf)


def until(worker: Worker, done: Callable[[], bool]) -> None:
    assert worker.run(done, deadline_ms=WallClock().now_ms() + WITHIN_MS)


OBEYS = """
for said in commands():
    if said["command"] != "next" or left:
        note([said["command"], said["id"]])
    if said["command"] == "next" and left:
        say({"command": "emit", "need_task_ids": False, **left.pop(0)})
    say({"command": "sync"})
"""


def test_commands_of_a_spout_carry_the_ids_it_gave_and_each_waits_for_its_sync(tmp_path: Path) -> None:
    """
    `activate` first, then `next`; `ack` and `fail` come with the id of the emit, a number or a text, as it was; after
    `deactivate` no `next`, and after `activate` there is again.
    """

    def act(bolt: Acting, tup: Any) -> None:
        (bolt.host.fail if tup.values[0] == 2 else bolt.host.ack)(tup)

    _, worker = spout(tmp_path, OBEYS, act)
    until(worker, lambda: len(heard(tmp_path)) >= 7)
    worker.deactivate()
    until(worker, lambda: ["deactivate", ""] in heard(tmp_path))
    (child,) = [host.component for host in worker._hosts.values() if isinstance(host.component, ShellSpout)]
    until(worker, lambda: not child._open)
    worker.run(lambda: False, deadline_ms=WallClock().now_ms() + 50)
    assert not child._open, "nothing is asked of it"
    worker.activate()
    until(worker, lambda: heard(tmp_path)[-1] == ["activate", ""])
    worker.close()

    assert heard(tmp_path)[0] == ["activate", ""]
    assert 3 == heard(tmp_path).count(["next", ""])
    told = [call for call in heard(tmp_path) if call[0] in ("ack", "fail")]
    assert sorted([["ack", 7], ["fail", "x"], ["ack", 8]], key=repr) == sorted(told, key=repr)


def test_a_spout_that_is_not_asked_may_be_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Silence counts only while a `sync` is awaited: a deactivated spout lives on beyond the subprocess time-out.
    """
    _, worker = spout(tmp_path, OBEYS, lambda bolt, tup: bolt.host.ack(tup), subprocess_timeout_secs=ENOUGH_S)
    until(worker, lambda: len(heard(tmp_path)) >= 7)
    worker.deactivate()
    worker.run(lambda: False, deadline_ms=WallClock().now_ms() + 1_000 * ENOUGH_S + 1_500)
    worker.close()

    assert "made anew" not in caplog.text


def test_a_spout_that_owes_its_sync_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    One that took a command and says nothing for the subprocess time-out.
    """
    code = """
    for said in commands():
        if said["command"] == "next":
            sys.stdin.read()
        say({"command": "sync"})
    """
    _, worker = spout(tmp_path, code, lambda bolt, tup: None, subprocess_timeout_secs=1)
    until(worker, lambda: re.search(KILLED, caplog.text) is not None)
    worker.close()


def test_a_command_that_a_spout_has_not_ends_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    As on Storm, where it ends the worker.
    """
    code = """
    for said in commands():
        say({"command": "ack", "id": "1"})
        say({"command": "sync"})
    """
    _, worker = spout(tmp_path, code, lambda bolt, tup: None)
    until(worker, lambda: "sends the command 'ack', which a spout has not" in caplog.text)
    worker.close()


def test_heartbeats_come_each_second_and_their_sync_keeps_a_busy_bolt_alive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A bolt that acks nothing until it has answered six heartbeats is silent for longer than the time-out otherwise.
    The heartbeat is what Storm 2.8 sends.
    """
    code = """
    held, beats = [], 0
    while True:
        got = read()
        if isinstance(got, list):
            continue
        if got["stream"] == "__heartbeat":
            note(got)
            say({"command": "sync"})
            beats += 1
        else:
            held.append(got["id"])
        while beats >= 6 and held:
            say({"command": "ack", "id": held.pop()})
    """
    made, worker = bench(tmp_path, HEARS + textwrap.dedent(code), 3, subprocess_timeout_secs=ENOUGH_S)
    run_until_acked(made, worker, 3)

    assert "made anew" not in caplog.text
    beat = heard(tmp_path)[0]
    assert isinstance(beat.pop("id"), str)
    assert {"comp": None, "stream": "__heartbeat", "task": -1, "tuple": []} == beat


def test_a_bolt_that_stops_answering_heartbeats_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Also after it has worked well; what it holds fails.
    """
    code = """
    for tup in tuples():
        if tup["tuple"][0] == 2:
            sys.stdin.read()
        say({"command": "ack", "id": tup["id"]})
    """
    made, worker = bench(tmp_path, code, 3, subprocess_timeout_secs=ENOUGH_S)
    until(worker, lambda: made.seen("fail") == ["2"])
    worker.close()

    assert ["0", "1"] == sorted(made.seen("ack"))
    assert re.search(KILLED, caplog.text)


def test_task_ids_are_answered_unless_they_are_not_wanted(tmp_path: Path) -> None:
    """
    An emit is answered with the ids of its receivers, in the order of the emits; one with `need_task_ids` false or
    with a task of its own is not.
    """
    code = """
    waiting = []
    def answer():
        while isinstance(got := read(), dict):
            waiting.append(got)
        return got
    while True:
        tup = waiting.pop(0) if waiting else read()
        if tup["stream"] == "__heartbeat":
            say({"command": "sync"})
            continue
        say({"command": "emit", "tuple": [1], "anchors": [tup["id"]]})
        note(answer())
        say({"command": "emit", "tuple": [2], "need_task_ids": False})
        say({"command": "emit", "tuple": [3], "stream": "picked", "task": 6})
        say({"command": "emit", "tuple": [4], "stream": "nobody"})
        note(answer())
        say({"command": "ack", "id": tup["id"]})
    """
    (tmp_path / "child.py").write_text(SPEAKS + HEARS + textwrap.dedent(code))
    streams = {name: StreamSpec(("number",), direct=name == "picked") for name in ("default", "picked", "nobody")}
    made = Bench(range(5))
    made.bolt("child", holds, make=partial(ShellBolt, [sys.executable, "child.py"], tmp_path), streams=streams)
    got: list[tuple[int, int]] = []

    def takes(bolt: Acting, tup: Any) -> None:
        got.append((bolt.host.context.task, tup.values[0]))
        bolt.host.ack(tup)

    made.bolt("all", takes, source="child", tasks=2, grouping=Grouping("all"))
    made.bolt("direct", takes, source="child", stream="picked", tasks=2, grouping=Grouping("direct"))
    worker = made.start(clock=WallClock())
    assert {"all": range(2, 4), "direct": range(5, 7)} == {
        name: worker.deployment.tasks[name] for name in ("all", "direct")
    }
    run_until_acked(made, worker, 5)

    assert [[2, 3], []] * 5 == heard(tmp_path)
    assert sorted([(2, 1), (3, 1), (2, 2), (3, 2), (6, 3)] * 5) == sorted(got)


def test_log_levels_errors_and_metrics_of_a_child(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Levels 0 to 4 are trace to error; an error is reported and the task goes on; metrics, over which Storm would end the
    worker, are dropped with one warning; a command that a bolt has not is ignored.
    """
    caplog.set_level(1, logger="stormline.task")
    code = """
    for tup in tuples():
        for level in range(5):
            say({"command": "log", "msg": "level %d" % level, "level": level})
        say({"command": "log", "msg": "no level"})
        say({"command": "error", "msg": "all is lost"})
        say({"command": "metrics", "name": "m", "params": 1})
        say({"command": "dance"})
        say({"command": "ack", "id": tup["id"]})
    """
    made, worker = bench(tmp_path, code, 2)
    run_until_acked(made, worker, 2)

    said = {record.getMessage().partition(": ")[2]: record.levelno for record in caplog.records}
    levels = {"level 0": 5, "level 1": 10, "level 2": 20, "level 3": 30, "level 4": 40}
    assert levels | {"no level": logging.INFO, "all is lost": logging.ERROR} == {
        text: said[text] for text in [*levels, "no level", "all is lost"]
    }
    assert 1 == sum("report_metric" in record.getMessage() for record in caplog.records)
    assert "made anew" not in caplog.text
