"""Children that behave badly: the run goes on, or ends with words; never a deadlock, never a process left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engine_parts import Bench

from stormline.core.errors import StormlineError
from stormline.engine.clock import WallClock
from stormline.engine.shell import ShellBolt
from stormline.engine.worker import Worker

ROOT = Path(__file__).parents[2]
SPEAKS = """
import json, os, sys
def read():
    frame = ""
    for line in iter(sys.stdin.readline, "end\\n"):
        if not line:
            sys.exit(0)
        frame += line
    return json.loads(frame)
def say(message):
    sys.stdout.write(json.dumps(message) + "\\nend\\n")
    sys.stdout.flush()
said = read()
open(said["pidDir"] + "/" + str(os.getpid()), "w").close()
say({"pid": os.getpid()})
def tuples():
    while True:
        got = read()
        if isinstance(got, list):
            continue
        if got["stream"] == "__heartbeat":
            say({"command": "sync"})
        else:
            yield got
"""


def bench(folder: Path, code: str, count: int = 20, *, speaks: bool = True, **conf: Any) -> tuple[Bench, Worker]:
    """A spout of numbers above a bolt that is this Python program."""
    script = folder / "child.py"
    script.write_text((SPEAKS if speaks else "") + textwrap.dedent(code))
    made = Bench(range(count))
    made.bolt("child", lambda bolt, tup: None, make=partial(ShellBolt, [sys.executable, "child.py"], folder))
    return made, made.start(clock=WallClock(), **conf)


def run_until_acked(made: Bench, worker: Worker, count: int = 20) -> None:
    deadline_ms = WallClock().now_ms() + 60_000
    try:
        assert worker.run(lambda: len(made.seen("ack")) == count, deadline_ms=deadline_ms), made.trace[-5:]
    finally:
        worker.close()


def ends_with(worker: Worker) -> str:
    with pytest.raises(StormlineError) as raised:
        worker.run(lambda: False, deadline_ms=WallClock().now_ms() + 60_000)
    return str(raised.value)


def test_garbage_on_stdout_is_quoted(tmp_path: Path) -> None:
    """
    A child that writes to stdout what is no message costs its task; three times in a row end the run, with the line.
    """
    _, worker = bench(tmp_path, "print('hello from child')\nfor tup in tuples(): pass\n")
    error = ends_with(worker)
    assert "'hello from child'" in error
    assert "stdout belongs to Storm" in error


def test_a_child_that_exits_at_start_ends_the_run_with_its_stderr(tmp_path: Path) -> None:
    """
    Three exits before anything was done end the run; the error has exit code and stderr.
    """
    _, worker = bench(tmp_path, "import sys; sys.exit('no licence')", speaks=False)
    error = ends_with(worker)
    assert "exited with 1" in error
    assert "no licence" in error
    assert "3 times" in error


def test_a_command_that_does_not_exist_ends_the_run(tmp_path: Path) -> None:
    """
    The error names the command and the folder it was started in.
    """
    made = Bench(range(1))
    made.bolt("child", lambda bolt, tup: None, make=partial(ShellBolt, ["no-such-command", "x"], tmp_path))
    error = ends_with(made.start(clock=WallClock()))
    assert "cannot start 'no-such-command x' in" in error


def test_a_child_that_never_answers_is_killed(tmp_path: Path) -> None:
    """
    Silence for the subprocess time-out ends the process; three times end the run.
    """
    _, worker = bench(tmp_path, "import signal; signal.pause()", speaks=False, subprocess_timeout_secs=1)
    assert re.search(r"said nothing for \d s and is killed", ends_with(worker))


def test_a_flood_of_log_lines_is_bounded_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A child that writes a hundred thousand lines to stderr and as many bytes of log messages keeps working; the log gets
    some hundred lines a second, and how many were left out.
    """
    caplog.set_level(logging.INFO, logger="stormline.task")
    made, worker = bench(
        tmp_path,
        """
        for tup in tuples():
            sys.stderr.write("noise\\n" * 5_000)
            sys.stderr.flush()
            say({"command": "log", "msg": "more noise", "level": 2})
            say({"command": "ack", "id": tup["id"]})
        """,
    )
    run_until_acked(made, worker)
    lines = [record for record in caplog.records if record.name == "stormline.task"]
    assert 100 < len(lines) < 20_000


def test_full_pipes_both_ways_do_not_block(tmp_path: Path) -> None:
    """
    Parent and child each write megabytes before they read: both go on.
    """
    made, worker = bench(
        tmp_path,
        """
        for tup in tuples():
            for _ in range(20):
                say({"command": "emit", "tuple": ["x" * 100_000], "anchors": [tup["id"]], "need_task_ids": False})
            say({"command": "ack", "id": tup["id"]})
        """,
        count=0,
    )
    made.waiting.extend("y" * 200_000 for _ in range(20))  # type: ignore[misc]
    run_until_acked(made, worker)


def test_an_unknown_id_ends_the_child(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    As Storm's worker would end over an unknown id, the child is ended, with words, and what it held fails.
    """
    made, worker = bench(
        tmp_path,
        """
        for tup in tuples():
            say({"command": "ack", "id": "never-sent"})
        """,
    )
    worker.run(lambda: len(made.seen("fail")) == 20, deadline_ms=WallClock().now_ms() + 60_000)
    worker.close()
    assert len(made.seen("fail")) == 20
    assert "acks tuple 'never-sent', which it does not hold" in caplog.text


def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    """
    A child that reads nothing and waits for ever is gone when its parent was killed by SIGKILL.
    """
    (tmp_path / "parent.py").write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path[:0] = {[str(ROOT / "src"), str(ROOT / "tests" / "engine")]!r}
            from pathlib import Path
            from test_engine_shell import bench
            made, worker = bench(Path({str(tmp_path)!r}), "import signal; signal.pause()", speaks=False)
            (host,) = [host for host in worker._hosts.values() if host.context.component == "child"]
            print(host.component.pid, flush=True)
            worker.run(lambda: False)
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    watched = os.pidfd_open(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    try:
        assert select.select([watched], [], [], 60)[0], json.dumps({"still alive": child})
    finally:
        os.close(watched)
