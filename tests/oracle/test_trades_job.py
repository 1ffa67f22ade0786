"""The job of the benchmarks, with fewer trades: from its generator through Kafka into Redis, against the oracle."""

import json
from pathlib import Path

from faults.conftest import Project
from oracle import trades


def test_the_trades_job_equals_the_oracle(tmp_path: Path) -> None:
    """
    `sparse run -n trades` feeds and counts 50,000 trades; all results are those of the oracle.
    """
    project = Project(tmp_path)
    config = json.loads((project.root / "config.json").read_text())
    config["envs"]["embedded"]["feed"]["trades"]["records"] = 50_000
    (project.root / "config.json").write_text(json.dumps(config))
    run = project.sparse("run", "-n", "trades")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "sparse run --fresh -n trades\n" in run.stdout, "what is told to be tried next means this app"
    lines = project.sparse("results", "hourly", "-n", "trades", "--json").stdout.splitlines()

    rows = [json.loads(line) for line in lines]
    found = {(row.pop("start"), row.pop("key")): row for row in rows}
    expected = trades.hours(value for _, value, _ in trades.generated(50_000, 7))
    assert len(rows) == len(found) == len(expected) > 5_000
    for (start_ms, user), hour in expected.items():
        row = found[f"2025-01-06T{start_ms // trades.HOUR_MS % 24:02d}:00:00Z", user]
        assert trades.shown(hour) == {name: row[name] for name in trades.shown(hour)}
        assert ("final", 0) == (row["state"], row["revision"])
