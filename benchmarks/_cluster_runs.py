"""One run of the trades job on a Storm cluster: ours, and that of a streamparse user."""

from __future__ import annotations

import shutil
import time
from typing import NamedTuple

from _storm import ROOT, Storm
from _storm import cpu_s as cpu_s_by_kind
from _trades import Bench, committed_offsets, cpu_s

STOCK_WARM_UP_S, STOCK_RUN_S = 8.0, 25.0


class Run(NamedTuple):
    """CPU is that of the time in which the rate was measured."""

    records_per_s: float
    cpu_s_per_million: dict[str, float]
    """By kind of process; "servers" are Kafka and Redis."""
    first_s: float
    """From the start of `sparse submit` until the first record was counted."""

    def told(self) -> str:
        kinds = ", ".join(f"{kind} {cpu:.2f}" for kind, cpu in sorted(self.cpu_s_per_million.items()))
        total = sum(self.cpu_s_per_million.values())
        return (
            f"{self.records_per_s:,.0f} records/s, {total:.2f} s of CPU a million ({kinds}), first {self.first_s:.1f} s"
        )


def ours(storm: Storm, bench: Bench, warm: int, *more: str) -> Run:
    """The whole topic is counted and verified; the rate is that between a commit behind `warm` records, when the JVM
    has compiled what it runs, and the last commit. `more`: what follows `sparse submit`."""
    app = bench.new_app()
    total = sum(bench.ends.values())
    began = time.monotonic()
    with committed_offsets(storm.kafka, app) as committed:

        def done() -> int:
            return sum(max(offset, 0) for offset in committed().values())

        storm.submit(bench.project, "hourly_trades", app, *more)
        storm.wait(done, "no record is counted")
        first_s = time.monotonic() - began
        storm.wait(lambda: done() >= warm, f"{warm} records are not counted")
        count = done()
        storm.wait(lambda: done() > count, f"no more than {count} records are counted")
        count = done()
        started, cpu = time.monotonic(), _cpu_s(storm, app)
        storm.wait(lambda: done() == total, "the topic is not counted to its end")
        took_s = time.monotonic() - started
        after = _cpu_s(storm, app)
    storm.kill(app)
    bench.verify_and_clear(app)
    millions = (total - count) / 1e6
    spent = {kind: (after[kind] - cpu.get(kind, 0.0)) / millions for kind in after}
    return Run((total - count) / took_s, spent, first_s)


def stock(storm: Storm, app: str) -> Run:
    """Acked records of the stock topology, once it is warm."""
    project = storm.directory / app
    shutil.copytree(ROOT / "benchmarks" / "stock_trades", project, ignore=shutil.ignore_patterns("__pycache__"))
    storm.make_project(project)
    began = time.monotonic()
    storm.submit(project, "stock_trades", app, f"-ostock.kafka={storm.kafka}", f"-ostock.redis={storm.redis_url}")
    storm.wait(lambda: storm.acked(app, "trades")[0], "no tuple is acked")
    first_s = time.monotonic() - began
    time.sleep(STOCK_WARM_UP_S)
    (first, born), cpu = storm.acked(app, "trades"), _cpu_s(storm, app)
    time.sleep(STOCK_RUN_S)
    (last, age), after = storm.acked(app, "trades"), _cpu_s(storm, app)
    storm.kill(app)
    millions = (last - first) / 1e6
    return Run((last - first) / (age - born), {kind: (after[kind] - cpu[kind]) / millions for kind in after}, first_s)


def _cpu_s(storm: Storm, app: str) -> dict[str, float]:
    return {**cpu_s_by_kind(storm.processes(app)), "servers": cpu_s(storm.server_pids())}
