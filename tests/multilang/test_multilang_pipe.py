"""What a component's process owes Storm whatever the user's code does: heartbeats, a clean stdout, back pressure."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from multilang.test_multilang_loop import HEARTBEAT, SYNC, Spoken, batch, child

KEEP = """
import ctypes, logging, os, pathlib, threading
from bolts.large_purchases import LargePurchases as Real
from stormline.multilang import pipe

pipe.MOST_WAITING_BYTES = 1_000_000


class LargePurchases(Real):
    def keep(self, purchase):
        {body}
        return super().keep(purchase)
"""
WAITS = "while not pathlib.Path({gate!r}).exists(): threading.Event().wait(0.01)"


def module(folder: Path, body: str) -> str:
    """A filter whose predicate does `body` first."""
    (folder / "tried.py").write_text(KEEP.format(body=body))
    return "tried.LargePurchases"


def until_acked(spoken: Spoken, number: str) -> list[Any]:
    heard = [spoken.hear()]
    while heard[-1] != {"command": "ack", "id": number}:
        heard.append(spoken.hear())
    return heard


def test_heartbeats_are_answered_while_user_code_is_slow(tmp_path: Path) -> None:
    """
    A predicate that has not returned yet: each heartbeat is answered all the same, and the batch is acked afterwards.
    """
    gate = tmp_path / "gate"
    with child("ours", module(tmp_path, WAITS.format(gate=str(gate))), "large", tmp_path) as spoken:
        spoken.say(batch("7"))
        for _ in range(5):
            spoken.say(HEARTBEAT)
            assert SYNC == spoken.hear()
        gate.touch()
        assert [message["command"] for message in until_acked(spoken, "7")][-1] == "ack"


def test_what_is_stuck_is_told_and_left_to_storm(tmp_path: Path) -> None:
    """
    A call that takes longer than `stormline.stuck_after_s`: one error with the line at which it is, then no answer to
    any heartbeat, so that Storm's time-out ends the worker. The process does not end itself, and goes on if the call
    does return.
    """
    gate = tmp_path / "gate"
    tried = module(tmp_path, WAITS.format(gate=str(gate)))
    with child("ours", tried, "large", tmp_path, stormline__stuck_after_s=1.5) as spoken:
        spoken.say(batch("7"))
        heard = SYNC
        while heard == SYNC:
            spoken.say(HEARTBEAT)
            heard = spoken.hear()
        assert "error" == heard["command"]
        assert "tried.py" in heard["msg"]
        assert "in keep" in heard["msg"]
        for _ in range(3):
            spoken.say(HEARTBEAT)
        assert spoken.is_silent(0.5)
        assert spoken.process.poll() is None
        gate.touch()
        until_acked(spoken, "7")
        spoken.say(HEARTBEAT)
        assert SYNC == spoken.hear()


def test_stdout_is_the_protocols_alone(tmp_path: Path) -> None:
    """
    A print and lines of Python's logging come as log messages with their levels; what C code writes to descriptor 1
    goes to stderr, and nothing of it between the messages.
    """
    says = (
        "print('printed'); logging.getLogger('mine').warning('warned'); logging.getLogger('mine').info('told'); "
        "ctypes.CDLL(None).puts(b'from C'); ctypes.CDLL(None).fflush(None); os.write(1, b'raw')"
    )
    with child("ours", module(tmp_path, says), "large", tmp_path) as spoken:
        spoken.say(batch("7"))
        heard = until_acked(spoken, "7")
    logged = [(message["level"], message["msg"]) for message in heard if message["command"] == "log"]
    assert {"log", "emit", "ack"} == {message["command"] for message in heard}
    assert {(2, "printed"), (3, "mine: warned"), (2, "mine: told")} <= set(logged)
    assert "stdout belongs to Storm" in logged[0][1]
    written = (tmp_path / "stderr").read_text()
    assert written.count("from C") == written.count("raw") == 2


def test_much_that_waits_is_not_read_and_heartbeats_go_on(tmp_path: Path) -> None:
    """
    While a predicate is slow no more than a limit is taken off the pipe: the worker feels back pressure. Heartbeats
    behind it cannot be read, so the process tells unasked that it is alive. Then all of it is done.
    """
    gate = tmp_path / "gate"
    with child("ours", module(tmp_path, WAITS.format(gate=str(gate))), "large", tmp_path) as spoken:
        large = {**batch("7"), "padding": "x" * 100_000}
        sent: list[int] = []

        def flood() -> None:
            for number in range(40):
                spoken.say({**large, "id": str(number)})
                sent.append(number)

        sender = threading.Thread(target=flood)
        sender.start()
        assert SYNC == spoken.hear()  # it was not asked
        assert len(sent) < 20
        gate.touch()
        until_acked(spoken, "39")
        sender.join()
