"""The trades job on a Storm cluster, against stock streamparse and against the loop an expert would write by hand.

One cluster is started for it. In turns: our topology, submitted and counted through to its end, verified against the
oracle; the same job as a user of stock streamparse writes it, acked records; the expert's loop, which knows no Storm
and gives no guarantee, on the same Kafka and Redis. Then our topology under a steady load: how long a record takes
from the producer's call until its result is in Redis, synced; and how long a death of a process is felt. The goal
against the expert counts as met as well at 85 % of what two cores can do at most, 2 / (CPU seconds a record of the
expert with both servers).

    ./sparse bench cluster [RUNS]
"""

from __future__ import annotations

import json
import sys
from statistics import median

from _cluster_runs import Run, ours, stock
from _paced_runs import Paced
from _storm import started
from _trades import Bench, Measured, told

RECORDS, WARM = 1_500_000, 500_000
"""One million are timed, behind the warm-up of the JVM."""
GOAL, EXPERT_GOAL, SHARE_OF_CEILING, CORES = 40.0, 1.0, 0.85, 2
FIRST_GOAL_S, RECOVERY_GOAL_S = 15.0, 12.0
STEADY = 10_000
HALF_GOAL_MS, STEADY_GOAL_MS = (500.0, 1500.0), 200.0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    own: list[Run] = []
    expert: list[Measured] = []
    with started() as storm:
        bench = Bench(storm.directory, storm.kafka, storm.redis_url, storm.server_pids, RECORDS)
        storm.make_project(bench.project)
        peer = None
        for number in range(runs):
            own.append(ours(storm, bench, WARM))
            print(f"run {number + 1}: ours {own[-1].told()}", flush=True)
            if peer is None:
                peer = stock(storm, "stock")
                print(f"stock {peer.told()}", flush=True)
            expert.append(bench.expert())
            print(f"run {number + 1}: expert {told(expert[-1])}", flush=True)
        assert peer is not None
        speed = median(run.records_per_s for run in own)
        with Paced(storm, "half").fed(speed / 2) as load:
            half = load.latencies_ms(warm_up_s=10, seconds=10)
        print(f"at half load: p50 {half[0]:.0f} ms, p99 {half[1]:.0f} ms", flush=True)
        with Paced(storm, "steady").fed(STEADY) as load:
            steady = load.latencies_ms(warm_up_s=10, seconds=10)
            print(f"at {STEADY} records/s: p50 {steady[0]:.0f} ms, p99 {steady[1]:.0f} ms", flush=True)
            bolt_s = load.recovery_s("HourlyAmounts")
            print(f"back {bolt_s:.1f} s after the death of a bolt", flush=True)
            jvm_s = load.recovery_s("worker JVM")
            print(f"back {jvm_s:.1f} s after the death of a worker", flush=True)
    ratios = [run.records_per_s / peer.records_per_s for run in own]
    to_expert = [a.records_per_s / b.records_per_s for a, b in zip(own, expert, strict=True)]
    ceiling = CORES * 1e6 / median(run.all_cpu_s_per_million for run in expert)
    first_s = max(run.first_s for run in own)
    met = {
        "stock": median(ratios) >= GOAL,
        "expert": median(to_expert) >= EXPERT_GOAL or speed >= SHARE_OF_CEILING * ceiling,
        "first": first_s < FIRST_GOAL_S,
        "recovery": max(bolt_s, jvm_s) < RECOVERY_GOAL_S,
        "latency_at_half_load": half[0] < HALF_GOAL_MS[0] and half[1] < HALF_GOAL_MS[1],
        f"latency_at_{STEADY}": steady[0] < STEADY_GOAL_MS,
    }
    result = {
        "name": "cluster",
        "unit": "records/s",
        "ours": round(speed),
        "peer": round(peer.records_per_s),
        "ratio": round(median(ratios), 1),
        "goal": GOAL,
        "met": all(met.values()),
        "spread": [round(min(ratios), 1), round(max(ratios), 1)],
        "goals_met": met,
        "expert": round(median(run.records_per_s for run in expert)),
        "expert_ratio": round(median(to_expert), 3),
        "expert_goal": EXPERT_GOAL,
        "expert_spread": [round(min(to_expert), 3), round(max(to_expert), 3)],
        "ceiling": round(ceiling),
        "share_of_ceiling": round(speed / ceiling, 3),
        "cpu_s_per_million": {
            kind: round(median(run.cpu_s_per_million[kind] for run in own), 2) for kind in own[0].cpu_s_per_million
        },
        "own_ceiling": round(CORES * 1e6 / median(sum(run.cpu_s_per_million.values()) for run in own)),
        "peer_cpu_s_per_million": round(sum(peer.cpu_s_per_million.values()), 1),
        "expert_cpu_s_per_million_with_servers": round(median(run.all_cpu_s_per_million for run in expert), 2),
        "submit_to_first_s": [round(run.first_s, 1) for run in own],
        "latency_ms": {"steady": [round(each) for each in steady], "half_load": [round(each) for each in half]},
        "recovery_s": {"bolt": round(bolt_s, 1), "worker": round(jvm_s, 1)},
        "records": RECORDS,
        "warm_up": WARM,
        "runs": runs,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
