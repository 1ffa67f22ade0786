"""Records that kill the process or break user code, from outside: explained, passed over, listed, sent again."""

import gzip
import json
import re

import pytest
from faults.conftest import ROOT, Project

DOCUMENT = (ROOT / "docs" / "kafka.md").read_text()
KILLER = 200
ROWS = 400
HEADER = "date,amount,user_id,items\n"
DIES = """        if purchase.amount == 666:
            import os
            os._exit(9)
        return"""


@pytest.fixture
def deadly(project: Project) -> Project:
    """One row of 400 kills the process of the bolt that looks at it."""
    rows = [f"1997-01-{1 + n // 20:02d},{'666.00' if n == KILLER else '10.00'},{n % 7},1\n" for n in range(ROWS)]
    with gzip.open(project.root / "data" / "cdnow.csv.gz", "wt") as file:
        file.write(HEADER + "".join(rows))
    bolt = project.root / "src" / "bolts" / "large_purchases.py"
    bolt.write_text(bolt.read_text().replace("        return", DIES))
    return project


def without_figures(line: str) -> str:
    """What docs/kafka.md shows is of another run."""
    return re.sub(r"[\d,:-]+", "#", " ".join(line.replace("once", "6 times").split()))


def counted(project: Project) -> int:
    rows = project.sparse("results", "monthly", "--json").stdout.splitlines()
    return sum(json.loads(row)["purchases"] for row in rows)


def test_a_record_that_kills_its_worker_is_named_and_can_be_passed_over(deadly: Project) -> None:
    """
    Each death narrows it down until it goes out alone, and `explain` names it; all before it is counted. `dlq skip`
    makes it a dead letter, the run comes to its end, and once the bolt is mended `dlq replay` brings it again, once.
    """
    for _ in range(12):
        run = deadly.sparse("run", "-t", "5")
        assert 0 == run.returncode, run.stdout + run.stderr
        assert "nothing new" not in run.stdout
        told = deadly.sparse("explain", "--json")
        assert 0 == told.returncode, told.stdout + told.stderr
        if "emitted alone" in told.stdout:
            break
    (held,) = [each["held"] for each in json.loads(told.stdout)["partitions"] if each["held"] is not None]
    record = held.split()[0]
    assert f"`sparse dlq skip {record}` makes it a dead letter" in held
    explained = deadly.sparse("explain").stdout
    assert f"{record.rpartition('/')[0]} is held up: {record} was emitted alone" in explained
    (shown,) = re.findall(r"^\$ ./sparse explain\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert set(map(without_figures, shown.splitlines())) <= set(map(without_figures, explained.splitlines()))

    skipped = deadly.sparse("dlq", "skip", record)
    assert 0 == skipped.returncode, skipped.stderr
    ended = deadly.sparse("run")
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert ROWS - 1 == counted(deadly)
    (letter,) = map(json.loads, deadly.sparse("dlq", "list", "--json").stdout.splitlines())
    assert (record, "purchases: passed over with `sparse dlq skip`") == (letter["origin"], letter["reason"])
    assert 666 == json.loads(letter["value"])["amount"]

    bolt = deadly.root / "src" / "bolts" / "large_purchases.py"
    bolt.write_text(bolt.read_text().replace(DIES, "        return"))
    for said in ("1 of 1 sent again", "nothing to send again"):
        replayed = deadly.sparse("dlq", "replay")
        assert (0, said) == (replayed.returncode, replayed.stdout.strip()), replayed.stderr
    assert "no dead letters of purchases" in deadly.sparse("dlq", "list").stdout
    assert record in deadly.sparse("dlq", "list", "--all").stdout
    again = deadly.sparse("run")
    assert 0 == again.returncode, again.stdout + again.stderr
    assert "1 read = 1 kept" in again.stdout
    assert "is held up" not in deadly.sparse("explain").stdout
    place = record.rpartition("/")[0]
    for far, words in ((record, "purchases is past it, at "), (f"{place}/9999", "the partition ends at ")):
        assert words in deadly.sparse("dlq", "skip", far).stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("dlq", "skip", "purchases/1"), '"purchases/1" is no place of a record'),
        (("dlq", "skip", "purchases/1/²"), '"purchases/1/²" is no place of a record'),
        (("dlq", "skip", "purchases/1/2"), "purchases/1/2 cannot be passed over: there is no such partition"),
        (("dlq", "skip", "other/1/2"), "purchases does not read the topic other"),
        (("dlq", "replay", "purchases/0/1"), "no dead letter of purchases came from there"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(project: Project, command: tuple[str, ...], words: str) -> None:
    """
    What is no place, a topic that is not read, a record that is no dead letter: each in one line, nothing is changed.
    """
    said = project.sparse(*command)
    assert 0 != said.returncode
    assert words in said.stderr
