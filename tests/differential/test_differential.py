"""The same components here and on a real Storm cluster: the cluster's answers were recorded (see `record.py`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from engine.engine_parts import HandClock

from differential import topologies
from stormline.cli.settings import of_a_run
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology
from stormline.engine.worker import Worker

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
TIMEOUT_S = RECORDED["acking"]["message_timeout_s"]


class Here:
    """A topology on our engine, with the clock in the test's hand; what its tasks wrote down is in `notes`."""

    def __init__(self, topology: Any, folder: Path, told: Mapping[str, Any], **conf: Any) -> None:
        for name, content in told.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        self.folder = folder
        self.clock = HandClock()
        conf = {
            "differential.directory": str(folder),
            "topology.message.timeout.secs": TIMEOUT_S,
            **{f"topology.{key.replace('_', '.')}": value for key, value in conf.items()},
        }
        self.deployment = Deployment(read_topology(topology), name="here", conf=conf)
        self.worker = Worker(self.deployment, edges=None, clock=self.clock)
        self.worker.start()

    def drain(self) -> Here:
        for _ in range(200_000):
            if not self.worker.step():
                return self
        raise AssertionError("it never came to rest")

    def passes(self, ms: int) -> Here:
        self.clock.advance(ms)
        return self.drain()

    def notes(self, what: str) -> list[dict[str, Any]]:
        """What was noted so far, task by task, in order."""
        files = sorted(self.folder.glob("*.jsonl"), key=lambda path: int(path.stem))
        lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]


def deterministic(emits: list[dict[str, Any]]) -> dict[str, Any]:
    """Emit -> tasks; of the stream that is also shuffled to `third`, which of its tasks it was is left open."""
    return {
        emit["path"]: sorted(min(task, 7) if emit["stream"] == "wide" else task for task in emit["tasks"])
        for emit in emits
    }


def test_acking_patterns_end_as_on_the_cluster(tmp_path: Path) -> None:
    """
    Four hundred drawn patterns of anchors, acks, fails and drops: each spout tuple is acked, failed at once or timed
    out as there, told once, and each emit went to the same tasks.
    """
    patterns = RECORDED["acking"]["patterns"]
    here = Here(topologies.Acking, tmp_path, {"patterns": [pattern["scripts"] for pattern in patterns]}).drain()
    told = {note["id"]: what for what in ("ack", "fail") for note in here.notes(what)}
    outcome = {name: {"ack": "acked", "fail": "failed"}[what] for name, what in told.items()}
    here.passes(TIMEOUT_S * 1000)
    assert len(told) == len(here.notes("ack") + here.notes("fail")), "nothing times out before two rotations"
    here.passes(TIMEOUT_S * 1000)
    late = {note["id"]: "timed out" for what in ("ack", "fail") for note in here.notes(what) if note["id"] not in told}
    outcome |= late

    expected = {
        f"{number}.{index}": how
        for number, pattern in enumerate(patterns)
        for index, how in enumerate(pattern["outcome"])
    }
    assert expected == outcome
    assert set(Counter(note["id"] for what in ("ack", "fail") for note in here.notes(what)).values()) == {1}
    there = deterministic([emit for pattern in patterns for emit in pattern["emits"]])
    assert there == deterministic([note for note in here.notes("emit") if "path" in note])


def test_time_outs_of_the_cluster_lie_between_one_and_two_time_outs() -> None:
    """
    The rule that our engine keeps by construction, seen there.
    """
    first, last = RECORDED["acking"]["timed_out_after_ms"]

    assert TIMEOUT_S * 1000 <= first <= last <= 2 * TIMEOUT_S * 1000 + 1000


EXACT = ("fields", "both", "all", "global", "two", "nobody", "default", "partial")


def test_groupings_choose_the_tasks_of_the_cluster(tmp_path: Path) -> None:
    """
    Texts of any script, ints of any size, floats, booleans, null, lists and dicts, by one field and by two; partial key
    by the sender's own history; all others by their rule.
    """
    streams = RECORDED["groupings"]["streams"]
    for stream in EXACT:
        folder = tmp_path / stream
        folder.mkdir()
        emits = {"streams": [stream], "values": [values for values, _ in streams[stream]]}
        here = Here(topologies.Groupings, folder, {"emits": emits}).drain()

        assert streams[stream] == [[note["values"], note["tasks"]] for note in here.notes("emit")], stream


@pytest.mark.parametrize(("stream", "component"), [("shuffle", "shuffle"), ("none", "none"), ("local", "local")])
def test_random_groupings_reach_every_task_and_one_at_a_time(tmp_path: Path, stream: str, component: str) -> None:
    """
    There as here; shuffle is even, to within one tuple here and roughly there.
    """
    recorded = RECORDED["groupings"]["streams"][stream]
    tasks = set(RECORDED["groupings"]["tasks"][component])
    emits = {"streams": [stream], "values": [values for values, _ in recorded]}
    here = [note["tasks"] for note in Here(topologies.Groupings, tmp_path, {"emits": emits}).drain().notes("emit")]

    for chosen in (here, [chosen for _, chosen in recorded]):
        assert all(len(one) == 1 for one in chosen)
        assert tasks == {task for one in chosen for task in one}
    counts = Counter(task for (task,) in here)
    assert stream == "none" or max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("name", ["Acking", "Groupings", "Names", "Callbacks", "Fatal"])
def test_task_ids_are_those_of_the_cluster(name: str) -> None:
    """
    Upper case, underscores, digits, other scripts, and more tasks than executors.
    """
    there = RECORDED[name.lower()]["tasks"]
    deployment = Deployment(read_topology(getattr(topologies, name)), name="here", conf={})

    assert there == {component: list(ids) for component, ids in deployment.tasks.items()}


def test_the_handshake_is_that_of_the_cluster() -> None:
    """
    The context of each task is equal; the configuration has the same keys, with values of the same kind, and the
    component's own values.
    """
    names = RECORDED["names"]
    conf = {"topology.message.timeout.secs": TIMEOUT_S, **of_a_run("names", Path("logs"))}
    deployment = Deployment(read_topology(topologies.Names), name="names", conf=conf)
    assert set(names["handshakes"]) == {str(task) for task in deployment.hosted}
    for task, recorded in names["handshakes"].items():
        here = deployment.handshake(int(task))

        assert recorded["context"] == here["context"], task
        assert recorded["own_conf"].items() <= here["conf"].items(), task
        there = {**names["conf"], **recorded["own_conf"]}
        assert UNTOLD == there.keys() - here["conf"].keys()
        assert {"topology.workers"} >= here["conf"].keys() - there.keys()
        assert {key: _kind(there[key]) for key in there.keys() - UNTOLD} == {
            key: _kind(here["conf"][key]) for key in there.keys() - UNTOLD
        }


UNTOLD = {
    *("topology.submitter.principal", "topology.submitter.user", "topology.users", "storm.zookeeper.superACL"),
    "differential.directory",
}
"""Who submitted it to a cluster with users; and the recording's own."""


def _kind(value: Any) -> str:
    """Numbers are one kind: Storm takes either, and JSON writes both."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_ticks_come_as_on_the_cluster(tmp_path: Path) -> None:
    """
    The first after a full interval, then one an interval, from the system component; spouts get none.
    """
    here = Here(topologies.Names, tmp_path, {}).drain()
    began_ms = here.clock.now_ms()
    seen: dict[str, list[int]] = {}
    for _ in range(12):
        here.passes(500)
        for task, ticks in _by_task(here.notes("tick")).items():
            while len(seen.setdefault(task, [])) < len(ticks):
                seen[task].append(here.clock.now_ms() - began_ms)
    recorded = RECORDED["names"]["ticks"]

    assert set(recorded) == set(seen)
    for task, there in recorded.items():
        every_ms = there["freq_s"] * 1000
        assert list(range(every_ms, 6001, every_ms)) == seen[task]
        assert there["first_after_handshake_ms"] > every_ms * 0.95
        tick = _by_task(here.notes("tick"))[task][0]
        assert there["tick"] == {key: tick[key] for key in there["tick"]}
        assert there["id_is"] == type(tick["id"]).__name__


def _by_task(notes: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for note in notes:
        found.setdefault(str(note["task"]), []).append(note)
    return found


def test_callbacks_keep_the_rules_that_the_cluster_keeps(tmp_path: Path) -> None:
    """
    `activate` comes before the first `next`; `max.spout.pending` holds `next` back, and one call's emits overshoot it;
    acks and fails come while a spout is deactivated, `next` does not; each tuple is told once, with the same end.
    """
    limit = RECORDED["callbacks"]["max_spout_pending"]
    here = Here(topologies.Callbacks, tmp_path, {}, max_spout_pending=limit).drain().passes(1000)
    here.worker.deactivate()
    here.passes(1000).passes(1000)
    here.worker.activate()
    for _ in range(8):
        here.passes(1000)
    spout = RECORDED["callbacks"]["tasks"]["spout"][0]
    lines = [json.loads(line) for line in (tmp_path / f"{spout}.jsonl").read_text().splitlines()]
    there = [call[1:] for call in RECORDED["callbacks"]["calls"]]
    ends_here, most_here = _checked([_call(line) for line in lines if line["what"] != "handshake"], limit)
    ends_there, most_there = _checked(there, limit)

    assert most_there == most_here == limit + 1
    assert 40 == len(ends_here)
    assert ends_there.items() <= ends_here.items()


def _checked(calls: list[list[Any]], limit: int) -> tuple[dict[str, str], int]:
    """How each tuple ended, and the most that were pending; the rules hold for this sequence of calls."""
    assert calls[0] == ["activate"]
    active, pending, most, told_inactive = False, set(), 0, 0
    ends: dict[str, str] = {}
    for what, *more in calls:
        if what in ("activate", "deactivate"):
            active = what == "activate"
        elif what == "next" and more[0]:
            assert active
            assert len(pending) < limit
            pending.update(more[0])
            most = max(most, len(pending))
        elif what != "next":
            told_inactive += not active
            pending.remove(more[0])
            ends[more[0]] = what
    assert told_inactive
    return ends, most


def _call(line: dict[str, Any]) -> list[Any]:
    if line["what"] == "next":
        return ["next", line["emitted"], line["times"]]
    return [line["what"], line["id"]] if "id" in line else [line["what"]]


@pytest.mark.parametrize("name", list(RECORDED["fatal"]["scripts"]))
def test_what_ends_a_worker_there_ends_the_task_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """
    Acks of what is not held, emits anchored to it, emits to unknown streams: the task is made anew, and the error says
    why.
    """
    script = RECORDED["fatal"]["scripts"][name]["script"]
    assert RECORDED["fatal"]["scripts"][name]["worker_ended"]
    here = Here(topologies.Fatal, tmp_path, {"fatal": {name: script}})
    for _ in range(50):
        here.passes(1)
    first = RECORDED["fatal"]["tasks"]["first"][0]
    lives = [note for note in here.notes("handshake") if note["task"] == first]

    assert 2 == len(lives), caplog.text
    assert f"first (task {first}) died and is made anew" in caplog.text
    assert (
        RECORDED["fatal"]["scripts"][name]["told"]
        == [note["what"] for what in ("ack", "fail") for note in here.notes(what)]
        or not RECORDED["fatal"]["scripts"][name]["told"]
    )


def test_direct_emits_reach_the_task_that_was_named(tmp_path: Path) -> None:
    """
    As on the cluster with `-DJSON_SMART_SIMPLE=1`; without it Storm 2.8 ends the worker (STORM-3961), we do not.
    """
    there = RECORDED["direct"]["direct-simple"]
    assert RECORDED["direct"]["direct-default"]["worker_ended"]
    here = Here(topologies.Direct, tmp_path, {}).drain()

    assert there["emitted"] == [note["tasks"][0] for note in here.notes("emit")]
    assert sorted(there["received"]) == sorted([note["task"], note["values"]] for note in here.notes("got"))
    assert len(there["emitted"]) == len(here.notes("ack"))
