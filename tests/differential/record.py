"""Records how a real Storm cluster treats stock components: tests/differential/recorded.json.

    .venv/bin/python tests/differential/record.py

It starts a cluster of its own (Java 17, Maven), runs the topologies of `topologies.py` on it, puts together what their
tasks wrote down, and stops the cluster. About three minutes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(HERE.parent)]

from differential import patterns, topologies  # noqa: E402
from stormline.cluster import nimbus  # noqa: E402
from stormline.cluster.cluster import Cluster  # noqa: E402
from stormline.cluster.settings import Settings  # noqa: E402
from stormline.embedded.ports import HOST, free_port  # noqa: E402

OUTPUT = HERE / "recorded.json"
MESSAGE_TIMEOUT_S = 4
PAUSE = threading.Event()
"""Never set."""
VALUES: list[list[Any]] = [
    *([key, other] for key in ("apple", "banana", "", "żółw", "\U0001f600", "user-42", "a/b") for other in (0, "x")),
    *([key, None] for key in (0, 1, -1, 7, 255, 2147483647, 2147483648, -2147483649, 9223372036854775807)),
    *([key, True] for key in (9223372036854775808, -(2**70), 1.0, 1.5, -0.25, 0.30000000000000004, 1e300, 5e-324, 0.0)),
    *([key, False] for key in (True, False, None, [], [1, 2], ["a", [None]], {}, {"k": 1}, {"a": [1], "b": 2.5})),
    *([f"user-{number}", number] for number in range(40)),
]
# A partial key's key must be text: PartialKeyGrouping calls toString on what it is given, and null has none.
PARTIAL = [values for values in VALUES if values[0] is not None]
STREAMS = ["fields", "both", "all", "global", "shuffle", "none", "local", "two", "nobody", "default"]

Note = dict[str, Any]


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class Recorder:
    """One topology after the other on one cluster."""

    def __init__(self, port: int, scratch: Path, cluster: Cluster) -> None:
        self._port = port
        self._scratch = scratch
        self._storm = cluster.storm_home
        self._logs = cluster.worker_logs
        self._directory = scratch
        self._name = ""
        self._jar = scratch / "differential.jar"
        with zipfile.ZipFile(self._jar, "w") as jar:
            jar.write(HERE / "components.py", "resources/differential/components.py")

    def submit(self, name: str, topology: Any, conf: Mapping[str, Any], **told: Any) -> None:
        """`told`: what the components may ask for by name."""
        self._name, self._directory = name, self._scratch / name
        self._directory.mkdir()
        for key, value in told.items():
            (self._directory / f"{key}.json").write_text(json.dumps(value))
        whole = {
            "topology.workers": 1,
            "topology.acker.executors": 1,
            "topology.message.timeout.secs": MESSAGE_TIMEOUT_S,
            **topology.config,
            **conf,
            "differential.directory": str(self._directory),
        }
        with nimbus.connect(HOST, self._port) as client:
            nimbus.submit(client, name, nimbus.upload(client, self._jar), topology.thrift_topology, whole)
        tell(f"{name} submitted")

    def kill(self) -> None:
        with nimbus.connect(HOST, self._port) as client:
            nimbus.kill(client, self._name)
        self.until(lambda: self._name not in self.names(), 60)

    def names(self) -> list[str]:
        with nimbus.connect(HOST, self._port) as client:
            return [summary.name for summary in client.getClusterInfo().topologies]

    def call(self, verb: str) -> None:
        with nimbus.connect(HOST, self._port) as client:
            getattr(client, verb)(self._name)

    def notes(self) -> list[Note]:
        """All tasks' notes, by time."""
        found = []
        for path in self._directory.glob("*.jsonl"):
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last one is not whole yet
            found += [json.loads(line) for line in lines]
        return sorted(found, key=lambda note: note["at_ms"])

    def worker_log(self) -> str:
        logs = self._logs.glob(f"{self._name}-*/*/worker.log")
        return "".join(log.read_text(errors="replace") for log in logs)

    def until(self, condition: Callable[[], bool], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"{self._name}: not there after {limit_s} s; worker.log:\n{self.worker_log()[-3000:]}")
            PAUSE.wait(0.1)

    def plain(self, value: Any) -> Any:
        """Without what differs from machine to machine."""
        text = json.dumps(value)
        for path, name in ((self._storm, "STORM_HOME"), (self._directory, "DIRECTORY"), (self._scratch, "SCRATCH")):
            text = text.replace(str(path.resolve()), name)
        text = text.replace(str(ROOT), "PROJECT")
        return json.loads(text)


def tasks_of(notes: list[Note]) -> dict[str, list[int]]:
    """Component -> its task ids, system components too."""
    context = next(note["context"] for note in notes if note["what"] == "handshake")
    found: dict[str, list[int]] = defaultdict(list)
    for task, name in context["task->component"].items():
        found[name].append(int(task))
    return {name: sorted(ids) for name, ids in sorted(found.items(), key=lambda item: min(item[1]))}


def acking(recorder: Recorder) -> dict[str, Any]:
    """Each spout tuple: acked, failed by a bolt or timed out; each emit: its task ids."""
    drawn = patterns.patterns()
    recorder.submit("acking", topologies.Acking, {}, patterns=drawn)
    many = sum(len(pattern) for pattern in drawn)

    def told(notes: list[Note]) -> list[Note]:
        return [note for note in notes if note["what"] in ("ack", "fail")]

    recorder.until(lambda: len({note["id"] for note in told(recorder.notes())}) == many, 90)
    last = time.monotonic()
    # Who is told twice is told within the time that a pending entry lives.
    recorder.until(lambda: time.monotonic() > last + 2 * MESSAGE_TIMEOUT_S, 60)
    notes = recorder.notes()
    recorder.kill()
    emitted = {note["id"]: note["at_ms"] for note in notes if note["what"] == "emit" and "id" in note}
    answers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for note in told(notes):
        answers[note["id"]].append((note["what"], note["at_ms"] - emitted[note["id"]]))
    timeouts = []
    cases = []
    for number, scripts in enumerate(drawn):
        outcome = []
        for index in range(len(scripts)):
            said = answers[f"{number}.{index}"]
            assert len(said) == 1, (number, index, said)
            what, after_ms = said[0]
            late = what == "fail" and after_ms > MESSAGE_TIMEOUT_S * 500
            timeouts += [after_ms] if late else []
            outcome.append("timed out" if late else {"ack": "acked", "fail": "failed"}[what])
        emits = [
            {"path": note["path"], "by": note["component"], "task": note["task"], "stream": note["stream"]}
            | {"tasks": note["tasks"]}
            for note in notes
            if note["what"] == "emit" and "path" in note and note["path"].partition(".")[0] == str(number)
        ]
        cases.append(
            {"scripts": scripts, "outcome": outcome, "emits": sorted(emits, key=lambda e: (e["path"], e["task"]))}
        )
    return {
        "tasks": tasks_of(notes),
        "message_timeout_s": MESSAGE_TIMEOUT_S,
        "timed_out_after_ms": [min(timeouts), max(timeouts)],
        "slowest_other_ms": max(ms for said in answers.values() for _, ms in said if ms not in timeouts),
        "told_twice": 0,
        "patterns": cases,
    }


def fatal(recorder: Recorder) -> dict[str, Any]:
    """Scripts that Storm answers by ending the worker."""
    scripts = patterns.FATAL
    recorder.submit("fatal", topologies.Fatal, {}, fatal=scripts)

    def starts() -> list[Note]:
        return [note for note in recorder.notes() if note["component"] == "words" and note["what"] == "handshake"]

    try:
        recorder.until(lambda: len(starts()) > len(scripts), 25 * len(scripts))
    except SystemExit:
        tell("not every fatal script ended its worker")
    notes, log = recorder.notes(), recorder.worker_log()
    recorder.kill()
    sections = re.split(r"differential: ([^\n]+)\n", log)
    said = dict(zip(sections[1::2], sections[2::2], strict=True))
    results = {}
    for name, script in scripts.items():
        section = said.get(name, "")
        at = [note["at_ms"] for note in notes if note["what"] == "emit" and note.get("id") == name]
        answers = [note["what"] for note in notes if note["what"] in ("ack", "fail") and note.get("id") == name]
        results[name] = {
            "script": script,
            "emitted": len(at),
            "told": answers,
            "worker_ended": "Halting process" in section,
            "error": _cause(section),
        }
    return {"tasks": tasks_of(notes), "scripts": results}


def _cause(log: str) -> str | None:
    """The exception that came first; if it was caused by another, the last of its causes. Tuple ids are masked."""
    lines = [line for line in log.splitlines() if re.match(r"(Caused by: )?(java|org)\.[\w.$]*(Exception|Error)", line)]
    if not lines:
        return None
    cause = lines[0]
    for line in lines[1:]:
        if not line.startswith("Caused by: "):
            break
        cause = line.removeprefix("Caused by: ")
    return re.sub(r"-?\d{6,}", "ID", cause)


def groupings(recorder: Recorder) -> dict[str, Any]:
    """The task ids of each emit, in the order of the emits."""
    streams = [(stream, PARTIAL if stream == "partial" else VALUES) for stream in [*STREAMS, "partial"]]
    result: dict[str, Any] = {"streams": {}}
    for number, chosen in enumerate((streams[:-1], streams[-1:])):
        values = chosen[0][1]
        told = {"streams": [stream for stream, _ in chosen], "values": values}
        recorder.submit(f"groupings-{number}", topologies.Groupings, {}, emits=told)
        many = len(values) * len(chosen)
        recorder.until(lambda many=many: sum(n["what"] == "emit" for n in recorder.notes()) >= many, 60)
        notes = recorder.notes()
        recorder.kill()
        result["tasks"] = tasks_of(notes)
        emits = sorted((note for note in notes if note["what"] == "emit"), key=lambda note: -note["order"])
        for stream, _ in chosen:
            result["streams"][stream] = [[e["values"], e["tasks"]] for e in emits if e["stream"] == stream]
    return result


def direct(recorder: Recorder) -> dict[str, Any]:
    """Direct emits, with Storm's JSON library as it is, and with its switch JSON_SMART_SIMPLE."""
    result: dict[str, Any] = {}
    for name, options in (("direct-default", ""), ("direct-simple", "-DJSON_SMART_SIMPLE=1")):
        recorder.submit(name, topologies.Direct, {"topology.worker.childopts": options})

        def over() -> bool:
            notes = recorder.notes()
            return "Halting process" in recorder.worker_log() or sum(n["what"] == "ack" for n in notes) >= 9

        recorder.until(over, 40)
        notes, log = recorder.notes(), recorder.worker_log()
        recorder.kill()
        result[name] = {
            "childopts": options,
            "tasks": tasks_of(notes),
            "worker_ended": "Halting process" in log,
            "error": _cause(log),
            "emitted": [note["tasks"][0] for note in notes if note["what"] == "emit"],
            "received": [[note["task"], note["values"]] for note in notes if note["what"] == "got"],
        }
    return result


def names(recorder: Recorder) -> dict[str, Any]:
    """Task ids of oddly named components, handshakes, ticks."""
    recorder.submit("names", topologies.Names, {})
    recorder.until(lambda: sum(note["what"] == "tick" for note in recorder.notes()) > 90, 60)
    notes = recorder.notes()
    recorder.kill()
    shakes = {note["task"]: note for note in notes if note["what"] == "handshake"}
    common = {
        key: value
        for key, value in next(iter(shakes.values()))["conf"].items()
        if all(key in shake["conf"] and shake["conf"][key] == value for shake in shakes.values())
    }
    contexts = {}
    for task, shake in sorted(shakes.items()):
        own = {key: value for key, value in shake["conf"].items() if key not in common}
        contexts[str(task)] = {"component": shake["component"], "own_conf": own, "context": shake["context"]}
    ticks: dict[str, Any] = {}
    for task, shake in sorted(shakes.items()):
        mine = [note for note in notes if note["what"] == "tick" and note["task"] == task]
        if mine:
            times = [note["at_ms"] - shake["at_ms"] for note in mine]
            keep = ("values", "stream", "source", "source_task")
            ticks[str(task)] = {
                "component": shake["component"],
                "freq_s": shake["conf"]["topology.tick.tuple.freq.secs"],
                "tick": {key: mine[0][key] for key in keep},
                "id_is": type(mine[0]["id"]).__name__,
                "first_after_handshake_ms": times[0],
                "then_every_ms": [later - before for before, later in zip(times, times[1:], strict=False)],
            }
    return recorder.plain(
        {"tasks": tasks_of(notes), "conf": dict(sorted(common.items())), "handshakes": contexts, "ticks": ticks}
    )


def callbacks(recorder: Recorder) -> dict[str, Any]:
    """The order of a spout's calls: it emits two tuples a `next`, 5 may be pending; then deactivate and activate."""
    recorder.submit("callbacks", topologies.Callbacks, {})

    def calls() -> list[Note]:
        return [note for note in recorder.notes() if note["component"] == "spout" and note["what"] != "handshake"]

    def has(what: str, many: int) -> bool:
        return sum(note["what"] == what for note in calls()) >= many

    recorder.until(lambda: has("ack", 7), 40)
    recorder.call("deactivate")
    recorder.until(lambda: has("deactivate", 1), 30)
    paused = time.monotonic()
    recorder.until(lambda: time.monotonic() > paused + 3 or not sys.stdin, 10)
    recorder.call("activate")
    recorder.until(lambda: has("activate", 2) and has("ack", 30), 60)
    recorder.call("deactivate")
    recorder.until(lambda: has("deactivate", 2), 30)
    notes = recorder.notes()
    recorder.kill()
    start = next(note["at_ms"] for note in notes if note["component"] == "spout")
    sequence = []
    for note in sorted(notes, key=lambda each: each["at_ms"]):
        if note["component"] == "spout" and note["what"] != "handshake":
            more = [note[key] for key in ("emitted", "id", "times") if key in note]
            sequence.append([note["at_ms"] - start, note["what"], *more])
    return {"max_spout_pending": 5, "emits_a_next": 2, "tasks": tasks_of(notes), "calls": sequence}


def main() -> None:
    wanted = sys.argv[1:] or ["acking", "groupings", "direct", "names", "callbacks", "fatal"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster must not stay behind
    with tempfile.TemporaryDirectory(prefix="record-") as scratch:
        own: list[int] = []
        while len(own) < 10:
            own.append(free_port(avoid=own))
        settings = Settings("2.8.3", "4.1.1", *own[:3], tuple(own[3:7]), *own[7:])
        cluster = Cluster(Path(scratch) / "cluster", ROOT / ".stormline" / "jars", settings)
        try:
            cluster.up(tell)
            recorder = Recorder(settings.nimbus_port, Path(scratch).resolve(), cluster)
            result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() and sys.argv[1:] else {}
            result["recorded_with"] = {
                "storm": settings.storm_version,
                "streamparse": importlib.metadata.version("streamparse"),
                "hypothesis": importlib.metadata.version("hypothesis"),
                "seed": patterns.SEED,
                "script": "tests/differential/record.py",
                "workers": 1,
            }
            for name in wanted:
                record = globals()[name]
                result[name] = {"about": record.__doc__, **record(recorder)}
                OUTPUT.write_text(_compact(result))
        finally:
            cluster.down()


def _compact(result: dict[str, Any]) -> str:
    """A line for each case, so that a change can be read."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def block(value: Any, depth: int) -> str:
        pad = "  " * (depth + 1)
        if depth < 3 and isinstance(value, dict) and value:
            inner = ",\n".join(f"{pad}{dump(key)}: {block(item, depth + 1)}" for key, item in value.items())
            return "{\n" + inner + "\n" + "  " * depth + "}"
        if depth < 4 and isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            return "[\n" + ",\n".join(pad + dump(item) for item in value) + "\n" + "  " * depth + "]"
        return dump(value)

    return block(result, 0) + "\n"


if __name__ == "__main__":
    main()
