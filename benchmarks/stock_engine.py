"""The stock word count (one tuple a `next_tuple`, anchors, acks) on our engine, against the same code on a real Storm.

In turns, in one run: real Storm 2.8.3 on a cluster that is started for it, our engine with all in one process, our
engine with each task a child on the multilang pipe. Acked tuples a second. Without Java and Maven the peer is the rate
that was measured before on a machine of this kind, and the last line says so.

    ./sparse bench stock_engine [SECONDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]

from word_count.topology import WordCount  # noqa: E402

from stormline.components.edges import Edges  # noqa: E402
from stormline.engine.clock import WallClock  # noqa: E402
from stormline.engine.deployment import Deployment  # noqa: E402
from stormline.engine.topology import read_topology  # noqa: E402
from stormline.engine.worker import Worker  # noqa: E402

GOAL_INLINE, GOAL_MULTILANG = 5.0, 1.3
RECORDED = 8_700.0
"""Acked tuples a second on real Storm, where there is none to measure."""
WARM_UP_S = 2.0
ROUNDS = 3


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    storm = real_storm()
    inline, multilang, cpu_us = [], [], []
    for _ in range(ROUNDS):
        inline.append(measure(seconds, multilang=False)[0])
        rate, cpu = measure(seconds, multilang=True)
        multilang.append(rate)
        cpu_us.append(cpu)
        print(f"inline {inline[-1]:,.0f}/s, multilang {rate:,.0f}/s ({cpu:.0f} us of the engine's CPU)", flush=True)
    storm += real_storm()
    peer = statistics.median(storm) if storm else RECORDED
    ours, children = statistics.median(inline), statistics.median(multilang)
    print(
        json.dumps(
            {
                "name": "stock_engine",
                "unit": "acked tuples/s",
                "ours": round(ours),
                "peer": round(peer),
                "ratio": round(ours / peer, 2),
                "goal": GOAL_INLINE,
                "met": ours / peer >= GOAL_INLINE and children / peer >= GOAL_MULTILANG,
                "spread": [round(min(inline) / peer, 2), round(max(inline) / peer, 2)],
                "multilang": round(children),
                "multilang_ratio": round(children / peer, 2),
                "multilang_goal": GOAL_MULTILANG,
                "multilang_spread": [round(min(multilang) / peer, 2), round(max(multilang) / peer, 2)],
                "multilang_engine_cpu_us": round(statistics.median(cpu_us), 1),
                "peer_runs": [round(rate) for rate in storm],
                "peer_measured": bool(storm),
            }
        )
    )


def measure(seconds: float, *, multilang: bool) -> tuple[float, float]:
    """(acked tuples a second, microseconds of this process's CPU a tuple)"""
    topology = read_topology(WordCount, multilang=multilang, sources=HERE)
    worker = Worker(Deployment(topology, name="words", conf={}), edges=cast(Edges, None), clock=WallClock())
    worker.start()
    try:
        run(worker, WARM_UP_S if multilang else WARM_UP_S / 4)
        before, began_s, cpu_s = acked(worker), time.monotonic(), time.process_time()
        run(worker, seconds)
        count = acked(worker) - before
        return count / (time.monotonic() - began_s), (time.process_time() - cpu_s) / count * 1e6
    finally:
        worker.close()


def run(worker: Worker, seconds: float) -> None:
    worker.run(lambda: False, deadline_ms=WallClock().now_ms() + round(seconds * 1000))


def acked(worker: Worker) -> int:
    return sum(status.acked for status in worker.status()["words"])


def real_storm() -> list[float]:
    """The rates of some runs on a cluster of its own; empty if there is no Java or Maven here."""
    ended = subprocess.run(
        [sys.executable, str(HERE / "word_count" / "on_storm.py"), "2"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        text=True,
        check=False,
    )
    if ended.returncode:
        print(f"no real Storm here; its rate is taken as {RECORDED:,.0f}/s", flush=True)
        return []
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    print(f"real Storm: {result['runs']}/s", flush=True)
    return [float(rate) for rate in result["runs"]]


if __name__ == "__main__":
    main()
