"""How long `./sparse run` takes on an installed checkout, until the first result and in all, and what memory it needs.

Each run begins anew in a scratch copy of the project. Times are seen from outside, from the start of the process to the
line on its stdout. Memory is the proportional set size (PSS) of the run, its servers and their guards together, at its
highest, with all tasks in one process and with one worker a core; it is sampled in runs of their own, as reading it
costs time. Its goal was set for one process.

    ./sparse bench first_run [ROUNDS]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GOAL_S, GOAL_FIRST_S, GOAL_MB = 10.0, 3.0, 150.0
SAMPLE_EVERY_S = 0.25


class Measured(NamedTuple):
    first_s: float
    total_s: float
    pss_mb: float
    """0 if it was not sampled."""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    timed, inline, workers = [], [], []
    with tempfile.TemporaryDirectory(prefix="first_run-") as scratch:
        project = Path(scratch)
        for name in ("config.json", "topologies", "src", "data"):
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
        measure(project, sample=False)  # compiles what is imported, and warms the page cache
        for _ in range(rounds):
            timed.append(measure(project, sample=False))
            inline.append(measure(project, "--inline", sample=True).pss_mb)
            workers.append(measure(project, sample=True).pss_mb)
            print(f"{timed[-1].first_s} s, {timed[-1].total_s} s; {inline[-1]} MB inline, {workers[-1]} MB", flush=True)
    totals, firsts = [run.total_s for run in timed], [run.first_s for run in timed]
    total, first, peak = statistics.median(totals), statistics.median(firsts), max(inline)
    print(
        json.dumps(
            {
                "name": "first_run",
                "unit": "s",
                "ours": round(total, 2),
                "peer": None,
                "ratio": None,
                "goal": GOAL_S,
                "met": total < GOAL_S and first < GOAL_FIRST_S and peak < GOAL_MB,
                "spread": [round(min(totals), 2), round(max(totals), 2)],
                "first_result_s": round(first, 2),
                "first_result_goal_s": GOAL_FIRST_S,
                "first_result_spread": [round(min(firsts), 2), round(max(firsts), 2)],
                "inline_pss_mb": round(peak, 1),
                "inline_pss_goal_mb": GOAL_MB,
                "pss_mb": round(max(workers), 1),
                "rounds": rounds,
            }
        )
    )


def measure(project: Path, *options: str, sample: bool) -> Measured:
    """One run from nothing; the topology's own summary must say that all was read."""
    command = [str(ROOT / "sparse"), "--project", str(project), "run", "--fresh", *options]
    began = time.monotonic()
    # An installed checkout has its bytecode; where this variable is set, a scratch copy would never get any.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peak = Peak(process.pid, project) if sample else None
    first_s, lines = None, []
    assert process.stdout is not None
    for line in process.stdout:
        if first_s is None and line.startswith("first result in Redis"):
            first_s = time.monotonic() - began
        lines.append(line)
    status = process.wait()
    total_s = time.monotonic() - began
    pss_mb = peak.stop() if peak else 0.0
    if status != 0 or first_s is None:
        sys.exit(f"the run ended with status {status}:\n{''.join(lines)}")
    return Measured(round(first_s, 2), round(total_s, 2), pss_mb)


class Peak:
    """The highest PSS of a process, its descendants, and the process groups of the embedded servers."""

    def __init__(self, pid: int, project: Path) -> None:
        self._pid = pid
        self._servers = project / ".stormline" / "servers.json"
        self._highest_kb = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return round(self._highest_kb / 1024, 1)

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_EVERY_S):
            self._highest_kb = max(self._highest_kb, sum(map(pss_kb, self._members())))

    def _members(self) -> list[int]:
        groups = set()
        if self._servers.is_file():
            content = json.loads(self._servers.read_text())
            groups = {server["group"] for server in content.values() if isinstance(server, dict)}
        parents, found = {}, {self._pid}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            pid = int(path.parent.name)
            parents[pid] = int(fields[1])
            if int(fields[2]) in groups:
                found.add(pid)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)


def pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
