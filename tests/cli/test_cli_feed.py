"""`sparse feed`: what it says, what it refuses, and that it goes on where it stopped."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stormline.cli import commands
from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import partition_count
from stormline.embedded.servers import EmbeddedServers

ROWS = "time,user,amount\n2020-01-01,ann,1.50\n2020-01-02,bob,2\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    envs = {
        "embedded": {"kafka": "embedded", "redis": "embedded", "topics": {"named": {"partitions": 2}}},
        "nowhere": {"kafka": "127.0.0.1:1"},
        "nothing": {},
    }
    (tmp_path / "config.json").write_text(json.dumps({"envs": envs}))
    (tmp_path / "f.csv").write_text(ROWS)
    return tmp_path


def sparse(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands.sparse, ["--project", str(project), "feed", *arguments])


def test_a_file_is_fed_once(project: Path) -> None:
    """Into a topic that --partitions creates, or the environment; a second feed of it finds all rows there."""
    file = str(project / "f.csv")
    first = sparse(project, file, "trades", "--key", "user", "--event-time", "time", "--partitions", "3")
    assert (first.exit_code, first.stdout) == (0, "trades: 2 rows fed\n"), first.output
    again = sparse(project, file, "trades", "--key", "user", "--event-time", "time")
    assert (again.exit_code, again.stdout) == (0, "trades: 0 rows fed, 2 were there before\n"), again.output
    assert sparse(project, file, "named").stdout == "named: 2 rows fed\n"
    with EmbeddedServers.start(project / ".stormline") as servers:
        assert [partition_count(Brokers(servers.kafka), topic) for topic in ("trades", "named")] == [3, 2]


def test_a_topic_that_holds_something_else_is_refused(project: Path) -> None:
    """Another file than the one that was fed: nothing is sent, and it is said why."""
    sparse(project, str(project / "f.csv"), "named")
    (project / "g.csv").write_text("time,user,amount\n2020-01-01,ann,1.50\n")
    refused = sparse(project, str(project / "g.csv"), "named")
    assert refused.exit_code == 1
    assert "topic named does not hold the rows of" in refused.stderr
    other = sparse(project, str(project / "f.csv"), "named", "--partitions", "5")
    assert "topic named has 2 partitions, not 5" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["missing.csv", "t"], "FILE: missing.csv cannot be read", 2),
        (["missing.jsonl", "t", "--partitions", "1"], "missing.jsonl cannot be read", 2),
        (["f.parquet", "t"], "the name must end with .csv, .csv.gz, .jsonl, .jsonl.gz", 2),
        (["f.csv", "t", "--key", "usr"], "--key: f.csv has no column usr; did you mean user?", 2),
        (["f.csv", "t", "--event-time", "x"], "--event-time: f.csv has no column x; it has time, user, amount", 2),
        (["f.csv", "t", "-e", "nothing"], 'the environment "nothing" in config.json says nothing about kafka', 2),
        (["f.csv", "t", "-e", "nowhere"], "Kafka at 127.0.0.1:1 does not answer", 1),
        (["f.csv", "t"], "topic t does not exist on Kafka at", 2),
        (["f.csv", "t"], '"topics": {"t": {"partitions": 1}}', 2),
        (["bad.csv", "t", "--partitions", "1"], "bad.csv: row 2 has 1 values, the header has 2", 2),
        (
            ["f.csv", "t", "--event-time", "user", "--partitions", "1"],
            "row 1 has user = 'ann', which is no ISO 8601",
            2,
        ),
    ],
)
def test_what_cannot_be_fed_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str, code: int
) -> None:
    """A missing file, another kind, an unknown column, row or topic: what, where, and what to do; no traceback."""
    monkeypatch.chdir(project)
    (project / "bad.csv").write_text("a,b\n1,2\n3\n")
    refused = sparse(project, *arguments)
    assert refused.exit_code == code, refused.output
    assert told in refused.stderr
    assert "Traceback" not in refused.output


def test_a_terminal_has_a_bar(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and all rows, while it feeds; elsewhere a line each second."""
    from stormline.cli.feed import _progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _progress("trades") as tell:
        tell(5, 10)
        bar = tell.__closure__[0].cell_contents  # type: ignore[attr-defined]
        (task,) = bar.tasks
        assert (task.description, task.completed, task.total) == ("trades", 5, 10)
