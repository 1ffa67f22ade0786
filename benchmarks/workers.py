"""The trades job in two worker processes against the same job in one process and one thread.

Both run in turns on the same servers, as in `job`. Two cores also have to carry Kafka, Redis and the exchange between
the workers, so the goal counts as met as well at 85 % of what two cores can do at most: 2 / (CPU seconds a record that
the run in one process costs together with both servers), measured in the same run.

    ./sparse bench workers [RECORDS [RUNS]]
"""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Any

from _trades import Measured, filled, told

GOAL, SHARE_OF_CEILING, CORES = 1.6, 0.85, 2
FLAGS, PEER_FLAGS = ["--workers", "2"], ["--inline"]
SETTINGS: dict[str, Any] = {}
"""What stands in the environment of config.json besides the servers, for both."""


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ours: list[Measured] = []
    peer: list[Measured] = []
    with filled(records) as bench:
        for number in range(runs):
            ours.append(bench.ours(FLAGS, SETTINGS))
            peer.append(bench.ours(PEER_FLAGS, SETTINGS))
            print(f"run {number + 1}: two workers {told(ours[-1])}; inline {told(peer[-1])}", flush=True)
    speed = median(each.records_per_s for each in ours)
    peer_speed = median(each.records_per_s for each in peer)
    ratios = [a.records_per_s / b.records_per_s for a, b in zip(ours, peer, strict=True)]
    ratio = median(ratios)  # of neighbours in time: the machine's speed drifts from pair to pair
    ceiling = CORES * 1e6 / median(each.all_cpu_s_per_million for each in peer)
    print(
        json.dumps(
            {
                "name": "workers",
                "unit": "records/s",
                "ours": round(speed),
                "peer": round(peer_speed),
                "ratio": round(ratio, 3),
                "goal": GOAL,
                "met": ratio >= GOAL or speed >= SHARE_OF_CEILING * ceiling,
                "spread": [round(min(ratios), 3), round(max(ratios), 3)],
                "ceiling": round(ceiling),
                "share_of_ceiling": round(speed / ceiling, 3),
                "share_goal": SHARE_OF_CEILING,
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
