"""The stock word count on a real Storm cluster, which it starts and stops: acked tuples a second and CPU.

    .venv/bin/python benchmarks/word_count/on_storm.py [RUNS]

Prints one JSON line. Needs Java 17 and Maven, as `sparse up` does.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "src"), str(HERE.parent)]

from word_count.topology import WordCount  # noqa: E402

from stormline.cluster import nimbus, processes  # noqa: E402
from stormline.cluster.cluster import Cluster  # noqa: E402
from stormline.cluster.settings import Settings  # noqa: E402
from stormline.embedded.ports import HOST, free_port  # noqa: E402

NAME = "word_count"
WARM_UP_S = 15.0
RUN_S = 10.0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    own: list[int] = []
    while len(own) < 10:
        own.append(free_port(avoid=own))
    settings = Settings()._replace(worker_ports=tuple(own[6:]))
    keys = [key for key in settings._fields if key.endswith("_port")]
    settings = settings._replace(**dict(zip(keys, own, strict=False)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster must not stay behind
    with tempfile.TemporaryDirectory(prefix="word_count-") as scratch:
        cluster = Cluster(Path(scratch) / "cluster", ROOT / ".stormline" / "jars", settings)
        try:
            cluster.up(lambda line: print(line, file=sys.stderr))
            _submit(settings.nimbus_port, Path(scratch) / "word_count.jar")
            _until_acked(settings.nimbus_port)
            time.sleep(WARM_UP_S)
            rates, shares = [], []
            for _ in range(runs):
                rate, share = _measure(settings.nimbus_port, cluster.storm_home)
                rates.append(rate)
                shares.append(share)
        finally:
            cluster.down()
    kinds = {kind: round(statistics.median(share[kind] for share in shares), 2) for kind in shares[0]}
    result = {
        "name": "stock word count on Storm " + settings.storm_version,
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


def _acked(port: int) -> int:
    """Of the spout's default stream since its start; Storm counts each (topology.stats.sample.rate is 1 here)."""
    with nimbus.connect(HOST, port) as client:
        (summary,) = client.getClusterInfo().topologies
        executors = client.getTopologyInfo(summary.id).executors
        of_spouts = [each.stats.specific.spout for each in executors if each.stats and each.component_id == "words"]
    return sum(each.acked.get(":all-time", {}).get("default", 0) for each in of_spouts)


def _until_acked(port: int) -> None:
    end = time.monotonic() + 60
    while not _acked(port):
        if time.monotonic() > end:
            raise SystemExit("no tuple was acked within 60 s")
        time.sleep(0.5)


def _change(port: int) -> tuple[float, int]:
    """The moment at which the heartbeat brought a new count; between two such moments the count is exact."""
    before = now = _acked(port)
    while now == before:
        time.sleep(0.05)
        now = _acked(port)
    return time.monotonic(), now


def _cpu_s(storm_home: Path) -> dict[str, float]:
    found = {"worker JVM": 0.0, "log writer": 0.0, "spout": 0.0, "bolts": 0.0}
    for process in processes.left(storm_home):
        text = " ".join(process.command)
        kind = "spout" if "WordSpout" in text else "bolts" if "WordCountBolt" in text else "worker JVM"
        kind = "log writer" if "storm.LogWriter" in text else kind
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        found[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _measure(port: int, storm_home: Path) -> tuple[float, dict[str, float]]:
    """(acked tuples a second, cores used by kind of process)"""
    started, first = _change(port)
    cpu = _cpu_s(storm_home)
    time.sleep(RUN_S)
    ended, last = _change(port)
    took_s = ended - started
    after = _cpu_s(storm_home)
    return (last - first) / took_s, {kind: (after[kind] - cpu[kind]) / took_s for kind in cpu}


if __name__ == "__main__":
    main()
