"""The trades job, Kafka to Redis, against the loop an expert would write by hand without a guarantee.

Both sides run in turns on the same servers, which are filled beforehand; the results of each run are compared with an
oracle. What is timed is told in `_trades.py`.

    ./sparse bench job [RECORDS [RUNS]]
"""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Any

from _trades import Measured, filled, told

GOAL = 1.0
FLAGS = ["--workers", "2"]
"""What follows `sparse run`."""
SETTINGS: dict[str, Any] = {}
"""What stands in the environment of config.json besides the servers."""


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ours: list[Measured] = []
    peer: list[Measured] = []
    with filled(records) as bench:
        for number in range(runs):
            ours.append(bench.ours(FLAGS, SETTINGS))
            peer.append(bench.expert())
            print(f"run {number + 1}: ours {told(ours[-1])}; expert {told(peer[-1])}", flush=True)
    speed = median(each.records_per_s for each in ours)
    peer_speed = median(each.records_per_s for each in peer)
    ratios = [a.records_per_s / b.records_per_s for a, b in zip(ours, peer, strict=True)]
    ratio = median(ratios)  # of neighbours in time: the machine's speed drifts from pair to pair
    print(
        json.dumps(
            {
                "name": "job",
                "unit": "records/s",
                "ours": round(speed),
                "peer": round(peer_speed),
                "ratio": round(ratio, 3),
                "goal": GOAL,
                "met": ratio >= GOAL,
                "spread": [round(min(ratios), 3), round(max(ratios), 3)],
                "cpu_s_per_million": round(median(each.cpu_s_per_million for each in ours), 2),
                "peer_cpu_s_per_million": round(median(each.cpu_s_per_million for each in peer), 2),
                "cpu_s_per_million_with_servers": round(median(each.all_cpu_s_per_million for each in ours), 2),
                "peer_cpu_s_per_million_with_servers": round(median(each.all_cpu_s_per_million for each in peer), 2),
                "records": records,
                "runs": runs,
            }
        )
    )


if __name__ == "__main__":
    main()
