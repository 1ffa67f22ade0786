"""A run can be fed as slowly as a stream would come."""

import json
import re

from faults.conftest import Project


def test_rows_come_at_the_rate_that_is_said(tmp_path) -> None:
    """
    So many rows a second, not more: after eight seconds of a thousand rows a second nowhere near all are read.
    """
    project = Project(tmp_path)
    config = json.loads((project.root / "config.json").read_text())
    config["envs"]["embedded"]["feed"]["trades"]["records"] = 1_000_000
    (project.root / "config.json").write_text(json.dumps(config))
    run = project.sparse("run", "-n", "trades", "--rate", "1000", "-t", "8")

    assert 0 == run.returncode, run.stdout + run.stderr
    read = re.search(r"([0-9,]+) read", run.stdout)
    assert read is not None
    assert 200 < int(read[1].replace(",", "")) <= 16_000
