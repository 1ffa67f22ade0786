"""A component of ours in its own process, spoken to as Storm's worker speaks."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from connectors.kafka_connector_parts import Broker

from spouts.purchases import Purchase
from stormline.connectors.kafka import ensure_topic
from stormline.core.batch import Rows
from stormline.core.progress import Claim, Progress
from stormline.embedded.ports import free_port
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology
from stormline.multilang.coding import (
    decode_progress,
    decode_rows,
    encode_progress,
    encode_rows,
    from_text,
    to_text,
)
from topologies.purchases import PurchasesTopology

ROOT = Path(__file__).parents[2]
LAUNCHERS = {
    "ours": [sys.executable, "-m", "stormline.multilang"],
    "streamparse_run": [str(Path(sys.executable).with_name("streamparse_run"))],
}


HEARTBEAT = {"id": "1", "comp": None, "stream": "__heartbeat", "task": -1, "tuple": []}
SYNC = {"command": "sync"}


class Spoken:
    """The worker's end of the pipe."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\nend\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        frame = b""
        while (line := self.process.stdout.readline()) != b"end\n":
            assert line, "it ended"
            frame += line
        return json.loads(frame)

    def is_silent(self, within_s: float) -> bool:
        """Nothing comes for so long."""
        assert self.process.stdout is not None
        return not select.select([self.process.stdout], [], [], within_s)[0]


@contextmanager
def child(launcher: str, component: str, name: str, folder: Path, **conf: Any) -> Iterator[Spoken]:
    """A task of the main job; `folder` is its directory for pids, and may hold modules. `conf`: with "__" for dots."""
    given = {key.replace("__", "."): value for key, value in conf.items()}
    deployment = Deployment(read_topology(PurchasesTopology), name="test", conf=given)
    process = subprocess.Popen(
        [*LAUNCHERS[launcher], component],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "stderr").open("wb"),
        cwd=ROOT / "src",
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{folder}"},
    )
    try:
        spoken = Spoken(process)
        spoken.say({"pidDir": str(folder), **deployment.handshake(deployment.tasks[name][0])})
        assert spoken.hear() == {"pid": process.pid}
        assert (folder / str(process.pid)).exists()
        yield spoken
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def rows() -> Rows:
    purchases = [Purchase(date(2020, 1, day), Decimal("9.90") * day, 7, 1) for day in (1, 2)]
    return Rows([5, 6], [1, 2], purchases, None)


def batch(number: str) -> dict[str, Any]:
    """A tuple of the spout's."""
    values = [-1, "purchases.batch", "purchases:x/0", to_text(encode_rows(rows())), 3]
    return {"id": number, "comp": "purchases", "stream": "batch", "task": 9, "tuple": values}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_filter_runs_behind_either_launcher(tmp_path: Path, launcher: str) -> None:
    """
    Started by our launcher or by streamparse's own, a bolt answers the handshake with its pid and a file of that name,
    takes a batch as five values, sends its records on split by key, anchored, and acks.
    """
    with child(launcher, "bolts.large_purchases.LargePurchases", "large", tmp_path) as spoken:
        spoken.say(batch("-77"))
        heard = []
        while not heard or heard[-1]["command"] != "ack":
            heard.append(spoken.hear())
        assert heard[-1] == {"command": "ack", "id": "-77"}
        emits = {message["stream"]: message for message in heard[:-1]}
        assert {"by_monthly", "by_daily", "by_alerts"} == set(emits)
        emit = emits["by_monthly"]
        assert (["-77"], False) == (emit["anchors"], emit["need_task_ids"])
        # Storm hands these to another worker as they are; of what JSON has, it has serializers for no more.
        assert {int, str} == {type(value) for each in heard[:-1] for value in each["tuple"]}
        _, _, partition, records, attempt = emit["tuple"]
        assert ("purchases:x/0", [5, 6], 3) == (partition, decode_rows(from_text(records), Purchase).offsets, attempt)


def test_heartbeats_are_answered_and_the_end_of_stdin_ends_it(tmp_path: Path) -> None:
    """
    A heartbeat is answered by `sync`; when stdin ends the process ends at once.
    """
    with child("ours", "bolts.large_purchases.LargePurchases", "large", tmp_path) as spoken:
        spoken.say(HEARTBEAT)
        assert SYNC == spoken.hear()
        assert spoken.process.stdin is not None
        spoken.process.stdin.close()
        assert 0 == spoken.process.wait(60)


SPOUT = """
from spouts.purchases import Purchases
from stormline.core.status import Status

class Arriving(Purchases):
    def prepare(self, host):
        self.host, self.asked, self.arrived = host, 0, []

    def next_tuple(self):
        if self.arrived:
            self.host.emit([self.arrived.pop()], message_id="1")
            return True
        self.asked += 1
        if self.asked > NOTHING:
            self.host.post(lambda: self.arrived.append(self.asked))
        return False

    def ack(self, message_id):
        pass

    def status(self):
        return Status()
"""


def spout(folder: Path, nothing: int) -> str:
    """One for which something arrives each time that it is asked and has nothing, but not the first `nothing` times."""
    (folder / "arriving.py").write_text(SPOUT.replace("NOTHING", str(nothing)))
    return "arriving.Arriving"


def test_an_idle_spout_keeps_storm_from_asking_at_once_again(tmp_path: Path) -> None:
    """
    `next` is answered once the turn of ten milliseconds is over, if the spout has nothing.
    """
    with child("ours", spout(tmp_path, nothing=1000), "purchases", tmp_path) as spoken:
        began_s = time.monotonic()
        for _ in range(20):
            spoken.say({"command": "next"})
            assert SYNC == spoken.hear()
        assert time.monotonic() - began_s > 20 * 0.009


def test_commands_that_do_not_wait_for_answers_get_one_each(tmp_path: Path) -> None:
    """
    Several `next` and an ack in one write, as our own worker sends them: as many answers as commands, none too many.
    """
    with child("ours", spout(tmp_path, nothing=1000), "purchases", tmp_path) as spoken:
        for command in ("next", "next", "ack", "next"):
            spoken.say({"command": command, "id": "0/1/x:1"})
        assert [SYNC] * 4 == [spoken.hear() for _ in range(4)]
        assert spoken.is_silent(0.05)


def test_what_arrives_within_a_turn_is_emitted_in_it(tmp_path: Path) -> None:
    """
    A spout that had nothing when it was asked emits what arrives meanwhile, and answers with it.
    """
    with child("ours", spout(tmp_path, nothing=0), "purchases", tmp_path) as spoken:
        answers = []
        for _ in range(20):
            spoken.say({"command": "next"})
            heard = [spoken.hear()]
            while heard[-1] != SYNC:
                heard.append(spoken.hear())
            answers.append([message["command"] for message in heard])
        # Each time; but a turn may end before the process has its share of a core. Answered at once, it were half.
        assert answers.count(["emit", "sync"]) > 10


def test_on_storm_the_log_says_what_a_component_waits_for_and_when_that_is_over(tmp_path: Path) -> None:
    """
    Once each: a Kafka that does not answer is named with its address, and when it is there the spout goes on.
    """
    broker = Broker(tmp_path / "kafka", free_port())
    ensure_topic(broker.brokers, "purchases", 1)  # not later: it would be missed first, and that be told
    broker.kill()
    conf = {"stormline__kafka": broker.address, "stormline__redis": "redis://127.0.0.1:1", "stormline__app": "a"}
    with child("ours", "spouts.purchases.Purchases", "purchases", tmp_path, **conf) as spoken:
        assert f"{broker.address} does not answer" in logged(spoken)
        broker.start()
        try:
            assert "goes on" == logged(spoken)
        finally:
            broker.kill()


def logged(spoken: Spoken) -> str:
    """The next line for the log, while Storm asks on and on."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        spoken.say({"command": "next"})
        while (heard := spoken.hear()) != SYNC:
            if heard["command"] == "log" and "WARNING" not in heard["msg"]:
                return str(heard["msg"])
    raise AssertionError("nothing was logged in time")


def test_batches_and_progress_survive_their_coding() -> None:
    """
    Rows with dates and decimals, and progress, are the same after coding; their text is safe in JSON and in URLs.
    """
    progress = Progress("s", 3, "abc", 9, 4, (Claim("t:x/0", 7, 5, None, idle=False, ended=True),))
    assert rows() == decode_rows(encode_rows(rows()), Purchase)
    assert progress == decode_progress(encode_progress(progress))
    text = to_text(encode_rows(rows()))
    assert f'"{text}"' == json.dumps(text)
    assert not set(text) & set("/+")
