"""A bolt is changed between two runs: what is stored is not misread."""

import gzip
import json

from faults.conftest import Project

ROWS = "date,amount,user_id,items\n1997-01-01,10.00,1,1\n1997-01-02,20.00,1,1\n1997-02-01,7.50,2,1\n"


def monthly(project: Project) -> list[dict[str, object]]:
    return [json.loads(line) for line in project.sparse("results", "monthly", "--json").stdout.splitlines()]


def test_a_changed_bolt_asks_what_becomes_of_its_state(project: Project) -> None:
    """
    One aggregate more: refused with what has changed and the choices; dropped, its results are gone and the others'
    stay; the next run goes on by itself.
    """
    with gzip.open(project.root / "data" / "cdnow.csv.gz", "wt") as file:
        file.write(ROWS)
    assert 0 == project.sparse("run").returncode
    assert 2 == len(monthly(project))
    bolt = project.root / "src" / "bolts" / "monthly_purchases.py"
    bolt.write_text(bolt.read_text().replace('"purchases": Count(),', '"purchases": Count(), "more": Count(),'))

    refused = project.sparse("run")
    assert 0 != refused.returncode
    assert "monthly: aggregate was " in refused.stderr
    assert "--state drop" in refused.stderr
    assert "Traceback" not in refused.stderr

    dropped = project.sparse("run", "--state", "drop")
    assert 0 == dropped.returncode, dropped.stdout + dropped.stderr
    assert [] == monthly(project)
    assert "" != project.sparse("results", "daily", "--json").stdout
    assert 0 == project.sparse("run").returncode
