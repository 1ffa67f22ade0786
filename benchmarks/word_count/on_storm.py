"""The stock word count on a real Storm cluster, which it starts and stops: acked tuples a second and CPU.

    .venv/bin/python benchmarks/word_count/on_storm.py [RUNS]

Prints one JSON line. Needs Java 17 and Maven, as `sparse up` does.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(HERE.parent)]

from _storm import Storm, cpu_s, started  # noqa: E402
from word_count.topology import WordCount  # noqa: E402

from stormline.cluster import nimbus  # noqa: E402
from stormline.cluster.settings import Settings  # noqa: E402
from stormline.embedded.ports import HOST  # noqa: E402

NAME, SPOUT = "word_count", "words"
WARM_UP_S = 15.0
RUN_S = 20.0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with started() as storm:
        _submit(storm.nimbus_port, storm.directory / "word_count.jar")
        storm.wait(lambda: storm.acked(NAME, SPOUT)[0], "no tuple is acked")
        time.sleep(WARM_UP_S)
        rates, shares = [], []
        for _ in range(runs):
            rate, share = _measure(storm)
            rates.append(rate)
            shares.append(share)
    kinds = {kind: round(statistics.median(share[kind] for share in shares), 2) for kind in shares[0]}
    result = {
        "name": "stock word count on Storm " + Settings().storm_version,
        "unit": "acked tuples/s",
        "median": round(statistics.median(rates)),
        "runs": [round(rate) for rate in rates],
        "cores": kinds,
        "cpu_us_per_tuple": round(sum(kinds.values()) / statistics.median(rates) * 1e6, 1),
    }
    print(json.dumps(result))


def _submit(port: int, jar: Path) -> None:
    with zipfile.ZipFile(jar, "w") as content:
        for name in ("spout", "bolt"):
            content.write(HERE / f"{name}.py", f"resources/word_count/{name}.py")
    conf: dict[str, Any] = {**WordCount.config, "topology.workers": 1, "topology.acker.executors": 1}
    with nimbus.connect(HOST, port) as client:
        nimbus.submit(client, NAME, nimbus.upload(client, jar), WordCount.thrift_topology, conf)


def _measure(storm: Storm) -> tuple[float, dict[str, float]]:
    """(acked tuples a second, cores used by kind of process)"""
    (first, born), started_s, cpu = storm.acked(NAME, SPOUT), time.monotonic(), cpu_s(storm.processes(NAME))
    time.sleep(RUN_S)
    (last, age), took_s = storm.acked(NAME, SPOUT), time.monotonic() - started_s
    after = cpu_s(storm.processes(NAME))
    return (last - first) / (age - born), {kind: (after[kind] - cpu[kind]) / took_s for kind in cpu}


if __name__ == "__main__":
    main()
