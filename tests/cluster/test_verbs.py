"""Every verb on a real cluster, as a user calls it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cluster.on_cluster import Verbs, kill, submit, until
from cluster.test_cluster import until_fetched

from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.embedded.ports import free_port

pytestmark = pytest.mark.timeout(600)
NAME = "reporting"


@pytest.fixture(scope="module")
def verbs(started: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    """With the topology running, and counted."""
    started.up()
    made = Verbs(tmp_path_factory.mktemp("project"), settings)
    (made.root / "topologies" / f"{NAME}.py").write_text("")  # the verbs need its name alone
    submit(settings, NAME, made.root)
    until(lambda: acked(made) > 100)
    yield made
    kill(made, NAME)


def component(verbs: Verbs, name: str) -> Any:
    (shown,) = verbs.json("stats", "-n", NAME)
    return next(each for each in shown["components"] if each["component"] == name)


def acked(verbs: Verbs) -> int:
    return int(component(verbs, "words")["acked"])


def worker_log(cluster: Cluster, verbs: Verbs) -> Path:
    """Of the one worker."""
    (worker,) = [each for each in verbs.json("worker-uptime") if each["topology"] == NAME]
    return cluster.worker_logs / worker["topology_id"] / str(worker["port"]) / "worker.log"


def test_list_shows_what_runs(verbs: Verbs) -> None:
    """Name, status and sizes; as a table and as JSON."""
    (found,) = [each for each in verbs.json("list") if each["name"] == NAME]
    # The acker, the spout, the two tasks of the bolt.
    assert ("ACTIVE", 1, 4, 4) == tuple(found[key] for key in ("status", "workers", "executors", "tasks"))
    table = verbs("list")
    assert f"{NAME}  ACTIVE  {found['id']}" in " ".join(table.split("\n")[1].split()).replace(" ", "  ")


def test_deactivate_and_activate_stop_the_spouts_and_let_them_go_on(verbs: Verbs) -> None:
    """The status changes at once, and without -n the project's only topology is meant."""
    assert f"{NAME} is inactive: its spouts rest\n" == verbs("deactivate")
    assert "INACTIVE" == verbs.status(NAME)
    assert f"{NAME} was inactive already\n" == verbs("deactivate")
    answer = verbs.json("activate")
    assert (NAME, "ACTIVE") == (answer["name"], answer["status"])
    assert "ACTIVE" == verbs.status(NAME)
    before = acked(verbs)
    until(lambda: acked(verbs) > before)


def test_stats_are_storms_own_per_component(verbs: Verbs) -> None:
    """A spout has a complete latency, a bolt the others and a capacity; what the bolt reported is its last error."""
    words, reports = component(verbs, "words"), component(verbs, "reports")
    assert ("spout", 1, 1) == (words["kind"], words["executors"], words["tasks"])
    assert words["emitted"] > 0
    assert words["acked"] > 0
    assert words["complete_ms"] > 0
    assert words["execute_ms"] is None
    assert ("bolt", 2, 2) == (reports["kind"], reports["executors"], reports["tasks"])
    assert reports["executed"] > 0
    assert reports["process_ms"] > 0
    assert reports["capacity"] is not None
    assert "ValueError" in reports["last_error"]["text"]
    table = verbs("stats")
    assert "complete ms" in table
    assert "Python ValueError raised" in table


def test_stats_of_one_component_show_its_streams_executors_and_errors(verbs: Verbs) -> None:
    """By -c, for the window that is asked for; a component that is not there is told with those that are."""
    (shown,) = verbs.json("stats", "-n", NAME, "-c", "reports", "--window", "10m")
    (detail,) = shown["details"]
    (source,) = detail["inputs"]
    assert ("words", "default") == (source["component"], source["stream"])
    assert source["executed"] > 0
    assert 2 == len(detail["executors"])
    assert detail["errors"]
    table = verbs("stats", "-n", NAME, "--all")
    assert "words (spout)" in table
    assert "reports (bolt)" in table
    absent = verbs.call("stats", "-n", NAME, "-c", "repots")
    assert 2 == absent.exit_code
    assert 'no component "repots"; it has: reports, words' in absent.output


def test_stats_watch_shows_rates(verbs: Verbs) -> None:
    """From the second look on it tells how many a second came since the first."""
    with verbs.going_on("stats", "-n", NAME, "--watch", "--json") as process:
        assert process.stdout is not None
        first, second, third = (json.loads(process.stdout.readline())[0] for _ in range(3))
    assert {"words": None, "reports": None} == first["per_s"]
    grown = third["components"][0]["acked"] - first["components"][0]["acked"]
    assert grown > 0
    assert second["per_s"]["words"] + third["per_s"]["words"] > 0


def test_log_level_is_set_shown_and_taken_back(verbs: Verbs, cluster: Cluster) -> None:
    """The worker follows while it runs; a level for a time ends by itself; an unknown one is refused."""
    log = worker_log(cluster, verbs)
    logger = "org.example.storm"
    set_ = verbs.json("log_level", "-l", f"{logger}=debug", "-l", "org.example.brief=ERROR:600")
    levels = {each["logger"]: each for each in set_}
    assert ("DEBUG", None) == (levels[logger]["level"], levels[logger]["until_s"])
    assert levels["org.example.brief"]["until_s"] > 0
    assert set_ == verbs.json("log-level")
    assert "never" in verbs("log-level")
    until(lambda: f"{logger} with level: DEBUG" in log.read_text())
    left = verbs.json("log-level", "--remove", logger)
    assert ["org.example.brief"] == [each["logger"] for each in left]
    verbs("log-level", "-r", "org.example.brief")
    refused = verbs.call("log-level", "-r", logger)
    assert 2 == refused.exit_code
    assert "no level set for org.example.storm; set are: none" in refused.output
    assert "levels: TRACE, DEBUG" in verbs.call("log-level", "-l", "ROOT=LOUD").output


def test_tail_shows_the_end_of_the_log(verbs: Verbs, cluster: Cluster) -> None:
    """As many lines as are asked for, below the file's name; as JSON an object for each line."""
    log = worker_log(cluster, verbs)
    heading, *lines = verbs("tail", "--num_lines", "3").splitlines()
    assert f"==> localhost:{log} <==" == heading
    assert 3 == len(lines)
    objects = [json.loads(line) for line in verbs("tail", "-l", "2", "--json").splitlines()]
    assert [str(log)] * 2 == [each["file"] for each in objects]
    assert objects[-1]["line"] in log.read_text()


def test_tail_follows_what_components_log(verbs: Verbs) -> None:
    """With -f comes what is written after the start."""
    with verbs.going_on("tail", "-f", "-l", "0") as process:
        assert process.stdout is not None
        until_noted = (line for line in process.stdout if "noted" in line)
        assert "words" in next(until_noted)


def test_logs_are_listed_and_fetched(verbs: Verbs, cluster: Cluster, tmp_path: Path) -> None:
    """Each file with its machine and size; --to copies them; a pattern chooses; without any it says where it looked."""
    log = worker_log(cluster, verbs)
    listed = verbs.json("logs")
    assert {str(log)} <= {each["path"] for each in listed}
    assert all(each["bytes"] >= 0 and each["host"] == "localhost" for each in listed)
    verbs("logs", "--to", str(tmp_path / "fetched"), "--pattern", r"worker\.log$")
    copy = (tmp_path / "fetched" / "localhost" / str(log).lstrip("/")).read_text()
    assert copy
    assert log.read_text().startswith(copy)
    none = verbs.call("logs", "-n", "no-such")
    assert 1 == none.exit_code
    assert f'no logs of "no-such" below {cluster.worker_logs} on localhost' in none.output


class Logviewer(BaseHTTPRequestHandler):
    """Storm's way to download a file of `artifacts`."""

    artifacts: Path

    def do_GET(self) -> None:  # noqa: N802
        place, _, query = self.path.partition("?")
        (name,) = parse_qs(query)["file"]
        content = (self.artifacts / name).read_bytes() if (self.artifacts / name).is_file() else None
        self.send_response(200 if place == "/api/v1/download" and content is not None else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


def test_logs_are_read_from_a_logviewer_where_the_environment_has_one(
    verbs: Verbs, cluster: Cluster, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers' logs as it has them, no ssh; what it cannot do is refused, and one that is not there is told."""
    monkeypatch.setattr(Logviewer, "artifacts", cluster.worker_logs, raising=False)
    log = worker_log(cluster, verbs)
    with ThreadingHTTPServer(("127.0.0.1", 0), Logviewer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        viewed = Verbs(tmp_path, settings, **{"logviewer.port": server.server_port, "workers": ["far.invalid"]})
        (line,) = [json.loads(line) for line in viewed("tail", "-n", NAME, "-l", "1", "--json").splitlines()]
        assert line["line"] in log.read_text()
        viewed("logs", "-n", NAME, "--to", str(tmp_path / "here"))
        copy = (tmp_path / "here" / "localhost" / str(log.relative_to(cluster.worker_logs))).read_text()
        assert copy
        assert log.read_text().startswith(copy)
        for words in (["tail", "-f"], ["logs"], ["remove-logs"]):
            refused = viewed.call(*words, "-n", NAME)
            assert 2 == refused.exit_code
            assert "a logviewer" in refused.output
        server.shutdown()
    gone = viewed.call("tail", "-n", NAME)
    assert 1 == gone.exit_code
    assert f"no logviewer at localhost:{server.server_port}" in gone.output


def test_worker_uptime_and_slot_usage_show_where_it_runs(verbs: Verbs, settings: Settings) -> None:
    """One worker, on a port of the cluster, with the topology's four executors."""
    (worker,) = [each for each in verbs.json("worker_uptime") if each["topology"] == NAME]
    assert worker["port"] in settings.worker_ports
    assert 4 == worker["executors"]
    assert worker["uptime_s"] >= 0
    (slots,) = verbs.json("slot_usage")
    assert (len(settings.worker_ports), [1, 4]) == (slots["slots"], slots["topologies"][NAME])
    assert "1 (4)" in verbs("slot-usage")
    assert "uptime" in verbs("worker-uptime")


def test_rebalance_changes_workers_and_executors(verbs: Verbs) -> None:
    """Two workers instead of one, one executor for the bolt's two tasks; then back. More than tasks are refused."""
    refused = verbs.call("rebalance", "-p", "reports=3", "-p", "nothing=1")
    assert 2 == refused.exit_code
    assert "reports has 2 tasks, so at most as many executors, not 3" in refused.output
    assert 'no component "nothing"; it has: reports, words' in refused.output
    verbs("rebalance", "-w", "0", "--workers", "2", "--par", "reports=1")
    try:
        until(lambda: 2 == len([each for each in verbs.json("worker-uptime") if each["topology"] == NAME]))
        until(lambda: 1 == component(verbs, "reports")["executors"])
        assert 2 == component(verbs, "reports")["tasks"]
    finally:
        verbs("rebalance", "-w", "0", "--workers", "1", "--par", "reports=2")
        until(lambda: 1 == len([each for each in verbs.json("worker-uptime") if each["topology"] == NAME]))
    until(lambda: "ACTIVE" == verbs.status(NAME))
    until(lambda: acked(verbs) > 0)


def test_remove_logs_empties_what_is_written_and_removes_the_rest(
    verbs: Verbs, cluster: Cluster, settings: Settings
) -> None:
    """The running worker goes on into its emptied log; of a killed topology nothing is left; others lose nothing."""
    other = f"{NAME}-2"  # its name begins like the other's
    submit(settings, other, verbs.root)
    until(lambda: 0 == verbs.call("logs", "-n", other).exit_code)
    kill(verbs, other)
    until(lambda: not any(each["topology"] == other for each in verbs.json("worker-uptime")))
    # It is gone for Nimbus before its process is, which writes its logs to the end.
    until(lambda: not [each for each in cluster.status().workers if each.name.rsplit("-", 2)[0] == other])
    log = worker_log(cluster, verbs)
    before = log.stat()
    told = verbs.json("remove-logs", "-A")
    assert str(log) in {each["path"] for each in told["emptied"]}
    assert before.st_ino == log.stat().st_ino
    until(lambda: "noted" in log.read_text())
    assert not log.read_text().startswith("\0")
    assert logs_of(cluster, other)
    verbs("remove_logs", "-n", other, "--remove_all_artifacts")
    assert [] == logs_of(cluster, other)


def logs_of(cluster: Cluster, name: str) -> list[Path]:
    return [
        path for path in cluster.worker_logs.glob(f"{name}-*") if path.name.removeprefix(f"{name}-").count("-") == 1
    ]


def test_kill_ends_it_and_what_is_not_there_is_told(verbs: Verbs, cluster: Cluster, settings: Settings) -> None:
    """While it is being killed only that can be done again, with a shorter wait; afterwards it is unknown."""
    name = "short-lived"
    submit(settings, name, verbs.root)
    until_fetched(cluster, name)
    answer = verbs.json("kill", "-n", name, "--wait", "300")
    assert (name, "KILLED", 300) == (answer["name"], answer["status"], answer["wait_s"])
    assert "KILLED" == verbs.status(name)
    refused = verbs.call("activate", "-n", name)
    assert 1 == refused.exit_code
    assert f"{name} is being killed" in refused.output
    assert f"{name} is killed; its workers end in 0 s\n" == verbs("kill", "--name", name, "--wait", "0")
    until(lambda: verbs.status(name) is None)
    absent = verbs.call("kill", "-n", "reportin")
    assert 2 == absent.exit_code
    assert f'no topology "reportin" on the cluster; did you mean {NAME}?; there are: {NAME}' in absent.output


def test_a_nimbus_that_is_away_and_an_ambiguous_name_are_told(settings: Settings, tmp_path: Path) -> None:
    """No traceback; exit code 1 for the world's fault, 2 for a wrong word."""
    port = free_port()
    verbs = Verbs(tmp_path, settings, nimbus=f"localhost:{port}")
    for name in ("one", "two"):
        (tmp_path / "topologies" / f"{name}.py").write_text("")
    away = verbs.call("list")
    assert 1 == away.exit_code
    assert f'error: no Nimbus of environment "prod" can be used:\n         localhost:{port}: Connection' in away.output
    ambiguous = verbs.call("kill")
    assert 2 == ambiguous.exit_code
    assert "say which with -n: one, two" in ambiguous.output
    unset = verbs.call("list", "-e", "embedded")
    assert 2 == unset.exit_code
    assert '"nimbus" of environment "embedded" in config.json is not set' in unset.output
