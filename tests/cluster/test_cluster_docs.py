"""What docs/cluster.md shows is run, on the cluster of these tests: its commands with the lines they print, and each
piece of configuration by the program that reads it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster.apps import App
from cluster.conftest import JARS, PATIENCE_MS, ROOT
from cluster.test_cluster import redis_of, topologies, until
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from ruamel.yaml import YAML

from stormline.cli import config, storm_conf, worker_python
from stormline.cluster import deploy, nimbus, nimbus_settings, processes
from stormline.cluster import topologies as on_storm
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.connectors.redis import require_durable
from stormline.embedded.ports import HOST

DOCUMENT = (ROOT / "docs" / "cluster.md").read_text()
LOOKS = ("results", "stats", "list", "tail", "logs", "worker-uptime", "slot-usage", "log-level", "status")
"""Verbs that only look: what they show comes about by and by."""
GOES_ON = ("--watch", "--follow", "-f")
"""A verb with such a flag ends by Ctrl-C."""
WITHIN_S = 240
HEAP_MB = 128
WITHOUT_DEFAULT = {"topology.subprocess.timeout.secs"}
"""Storm's, too: what it does is seen in test_components_on_storm.py."""
WORKER, LOG_WRITER = "org.apache.storm.daemon.worker.Worker", "org.apache.storm.LogWriter"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, without the indent of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands() -> list[tuple[list[str], list[str]]]:
    """(words after ./sparse, lines shown below it), in order."""
    found: list[tuple[list[str], list[str]]] = []
    for line in "\n".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line[2:])
            assert program == "./sparse", line
            found.append((words, []))
        elif line:
            found[-1][1].append(line)
    return found


def missing(shown: list[str], printed: str, verb: str) -> list[str]:
    """The lines that were not printed. Figures are the reader's own, but those of results; tables are as wide as they
    are."""

    def like(text: str) -> str:
        text = text if verb in ("results", "run") else re.sub(r"\d[\d,]*", "0", text)
        return " ".join(text.split())

    return [line for line in shown if like(line) not in like(printed)]


def heaps(cluster: Cluster) -> list[str]:
    """The last -Xmx of each worker's JVM."""
    jvms = [each.command for each in processes.left(cluster.storm_home) if WORKER in each.command]
    return [
        next(word for word in reversed(command) if word.startswith("-Xmx"))
        for command in jvms
        if LOG_WRITER not in command
    ]


class Reader:
    """Somebody who follows the document, in a project whose cluster is that of the tests."""

    def __init__(self, root: Path, settings: Settings, cluster: Cluster) -> None:
        self.app = App(root, settings, "purchases")
        self.app.read_from("documented")
        path = root / "config.json"
        content = json.loads(path.read_text())
        of_cluster = content["envs"]["cluster"]
        of_cluster["feed"] = {"documented": of_cluster["feed"]["purchases"]}
        content["cluster"] = {key: value for key, value in settings._asdict().items() if value is not None}
        shown = json.loads(blocks("json")[0])["production"]
        here = {key: of_cluster[key] for key in ("nimbus", "kafka", "workers")}
        (root / "redis").write_text(of_cluster["redis"])
        here["redis"] = f"file:{root / 'redis'}"  # which the workers read, too
        # What is not of this machine: who may call Nimbus, and what its workers run.
        other = (
            "storm.thrift.transport",
            "nimbus_user",
            "nimbus_password",
            "user",
            "python_version",
            "python_platform",
        )
        content["envs"]["production"] = {key: value for key, value in shown.items() if key not in other} | here
        path.write_text(json.dumps(content))
        state = root / ".stormline"
        (state / "cluster").symlink_to(cluster.storm_home.parent)
        (state / "jars").symlink_to(JARS)

    def does(self, words: list[str], shown: list[str]) -> None:
        if any(word in GOES_ON for word in words):
            self._watches(words, shown)
            return
        printed = ""

        def done() -> bool:
            nonlocal printed
            ended = self.app.project.sparse(*words, within_s=240)
            printed = ended.stdout + ended.stderr
            left = missing(shown, printed, words[0])
            if words[0] in LOOKS and (left or ended.returncode):
                return False
            assert ended.returncode == 0, printed
            assert left == [], printed
            return True

        try:
            until(done, WITHIN_S)
        except AssertionError as error:
            raise AssertionError(f"sparse {shlex.join(words)} printed\n{printed}") from error

    def _watches(self, words: list[str], shown: list[str]) -> None:
        with self.app.project.start(*words) as process:
            assert process.stdout is not None
            printed = ""
            try:
                for line in process.stdout:
                    printed += line
                    if not missing(shown, printed, words[0]):
                        break
            finally:
                os.killpg(process.pid, signal.SIGINT)
            assert [] == missing(shown, printed, words[0]), printed


@pytest.fixture
def reader(cluster: Cluster, settings: Settings, tmp_path: Path) -> Iterator[Reader]:
    redis_of(settings).flushall()
    reader = Reader(tmp_path / "project", settings, cluster)
    yield reader
    cluster.up()
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        deploy.end(client, reader.app.name, 0)
    redis_of(settings).flushall()


@pytest.mark.timeout(900)
def test_the_commands_print_the_lines_that_are_shown(reader: Reader, cluster: Cluster, settings: Settings) -> None:
    """
    Each `$ ./sparse …` of docs/cluster.md runs, in order, and prints each line shown below it; what it tells of the
    workers' heap is so.
    """
    shown = commands()
    assert len(shown) >= 25
    for words, lines in shown:
        reader.does(words, lines)
        if words[0] == "down":
            assert {"stopped"} == {line.state for line in cluster.status().parts}
            cluster.up()
            until(lambda: not topologies(settings), WITHIN_S)
        if words[0] == "rebalance":  # six executors in two workers; of the heap it is said what each brings
            until(lambda: [f"-Xmx{3 * HEAP_MB}m"] * 2 == heaps(cluster), WITHIN_S)
    until(lambda: not topologies(settings), WITHIN_S)
    assert {"up", "down", "submit", "rebalance", "kill", "tail", "stats", "resume"} <= {words[0] for words, _ in shown}


@pytest.mark.parametrize("text", blocks("json"))
def test_each_environment_shown_is_one(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    config.json with it has no fault, and neither Nimbus, the workers' Python nor the configuration is refused; where it
    says nothing of the servers the first one's are meant.
    """
    monkeypatch.setenv("NIMBUS_PASSWORD", "secret")
    first, shown = (json.loads(each)["production"] for each in (blocks("json")[0], text))
    whole = {key: first[key] for key in ("nimbus", "use_ssh_for_nimbus", "workers", "kafka", "redis")} | shown
    (tmp_path / "config.json").write_text(json.dumps({"envs": {"production": whole}}))

    env = config.load(tmp_path).environment("production")

    assert nimbus_settings.read(env.name, env.stock, tmp_path, os.environ).seeds
    assert worker_python.worker_python(env, "purchases").command
    assert storm_conf.servers_conf(env)
    conf = storm_conf.storm_conf(type("Purchases", (), {"config": {}}), env, {}, original="purchases", stateful=True)
    assert shown.get("options", {}).items() <= conf.items()
    assert "secret" not in str(conf)


def test_the_settings_shown_are_storms(cluster: Cluster, settings: Settings) -> None:
    """
    Each key of a storm.yaml, and each of the topology's settings, is one that Storm has; the default is ours.
    """
    assert cluster
    with nimbus.connect(HOST, settings.nimbus_port, PATIENCE_MS) as client:
        known = on_storm.nimbus_conf(client)
    shown = {key: value for text in blocks("yaml") for key, value in YAML(typ="safe", pure=True).load(text).items()}
    table = dict(re.findall(r"^\| `(topology\.[\w.]+)` \| (\S+)", DOCUMENT, re.MULTILINE))
    assert len(shown) >= 5
    assert len(table) >= 5
    assert set() == {*shown, *table} - known.keys() - WITHOUT_DEFAULT
    assert str(storm_conf.TIMEOUT_S) == table["topology.message.timeout.secs"]
    assert known["topology.component.resources.onheap.memory.mb"] == HEAP_MB


def test_the_redis_shown_is_one_that_submit_takes(cluster: Cluster, settings: Settings) -> None:
    """
    Each line is a setting of Redis, and with all of them it counts as durable.
    """
    assert cluster
    with redis_of(settings) as client:
        for line in "".join(blocks("redis")).splitlines():
            name, value = line.split(maxsplit=1)
            client.config_set(name, value)
    with redis.Redis(port=settings.redis_port) as client:
        require_durable(client, "here")


def test_the_kafka_shown_has_settings_of_kafka(cluster: Cluster, settings: Settings) -> None:
    """
    A real broker knows each of them.
    """
    assert cluster
    admin: Any = KafkaAdminClient(bootstrap_servers=f"{HOST}:{settings.kafka_port}")
    found = admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")], config_filter="all")
    admin.close()
    shown = {line.partition("=")[0] for line in "".join(blocks("properties")).splitlines()}
    assert len(shown) >= 4
    assert set() == shown - set(re.findall(r"[\w.]+", str(found)))


def test_links_lead_somewhere() -> None:
    """
    Each link to a file of the repository.
    """
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!http)([^)]+)\)", DOCUMENT)]
    assert [] == [link for link in links if not (ROOT / "docs" / link).exists()]
