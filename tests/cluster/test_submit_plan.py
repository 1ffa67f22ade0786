"""What is found before anything is sent: settings, commands, the Python of the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import ROOT
from stock.stock_runs import load

from stormline.cli import config, storm_conf
from stormline.cli.worker_python import asked_here, worker_python
from stormline.cluster import commands, deploy, nimbus_settings
from stormline.connectors.addresses import resolved
from stormline.core.errors import SettingsError

NIMBUS = {"nimbus": "localhost:1", "workers": ["localhost"], "use_ssh_for_nimbus": False}
SERVERS = {"kafka": "broker:9092", "redis": "redis://store:6379/0"}


def environment(tmp_path: Path, **keys: Any) -> config.Environment:
    (tmp_path / "config.json").write_text(json.dumps({"envs": {"prod": {**NIMBUS, **SERVERS, **keys}}}))
    return config.load(tmp_path).environment("prod")


class Words:
    """A topology, as far as its configuration goes."""

    config = {"topology.debug": False, "words.least": 2}


def conf(env: config.Environment, *, stateful: bool = True, **given: Any) -> dict[str, Any]:
    named = {key.replace("_", "."): value for key, value in given.items()}
    return storm_conf.storm_conf(Words, env, named, original="words", stateful=stateful)


def faults(call: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        call()
    return list(caught.value.faults)


def test_the_command_line_wins_over_the_topology_and_that_over_the_environment(tmp_path: Path) -> None:
    """And all of them over our own default, the message time-out of 10 s; stock topologies keep Storm's 30 s."""
    options = {"words.least": 1, "words.most": 9, "topology.message.timeout.secs": 60}
    env = environment(tmp_path, options=options)

    found = conf(env, words_most=8)

    assert 3 == conf(env, words_least=3)["words.least"]
    assert (2, 8, 60) == (found["words.least"], found["words.most"], found["topology.message.timeout.secs"])
    assert 10 == conf(environment(tmp_path))["topology.message.timeout.secs"]
    assert "topology.message.timeout.secs" not in conf(environment(tmp_path), stateful=False)


def test_our_bolts_look_less_often_for_tuples(tmp_path: Path) -> None:
    """Five milliseconds apart, unless somebody says otherwise; stock topologies wait as Storm has it."""
    key = "topology.bolt.wait.progressive.level3.sleep.millis"
    env = environment(tmp_path)

    assert (5, 0) == (conf(env)[key], conf(env)["topology.bolt.wait.progressive.level2.count"])
    assert 1 == storm_conf.storm_conf(Words, env, {key: 1}, original="words", stateful=True)[key]
    assert not [key for key in conf(env, stateful=False) if ".wait." in key]


def test_stock_log_settings_reach_pystorm(tmp_path: Path) -> None:
    """Under its own names; topology.debug makes the level debug."""
    env = environment(tmp_path, log={"path": "/var/log", "level": "INFO", "max_bytes": 5}, log_file="a.log")

    found = conf(env)

    logs = {key: value for key, value in found.items() if key.startswith("pystorm.")}
    assert {
        "pystorm.log.path": "/var/log",
        "pystorm.log.file": "a.log",
        "pystorm.log.max_bytes": 5,
        "pystorm.log.level": "info",
    } == logs
    assert "debug" == conf(env, topology_debug=True)["pystorm.log.level"]


def test_settings_that_would_lose_or_stop_records_are_refused_together(tmp_path: Path) -> None:
    """No acker, Storm's limit on our spouts, a number of workers that is none, a serializer that Storm has not."""
    env = environment(
        tmp_path,
        serializer="msgpack",
        options={"topology.acker.executors": 0, "topology.max.spout.pending": 100, "topology.workers": 0},
    )

    told = faults(lambda: conf(env))

    assert 4 == len(told)
    for part in ("topology.workers is 0", "acker.executors is 0", "limit themselves by max_pending", "'msgpack'"):
        assert any(part in fault for fault in told), part


def test_a_stock_topology_may_have_no_acker_and_a_limit(tmp_path: Path) -> None:
    """Both are Storm's to understand."""
    options = {"topology.acker.executors": 0, "topology.max.spout.pending": 100}
    assert 100 == conf(environment(tmp_path, options=options), stateful=False)["topology.max.spout.pending"]


@pytest.mark.parametrize("url", ["redis://:secret@store:6379/0", "rediss://me:secret@store/0"])
def test_a_password_does_not_get_into_the_configuration(tmp_path: Path, url: str) -> None:
    """Neither as the address of Redis, which is told by reference instead, nor in an option; the message has it not."""
    env = environment(tmp_path, redis=url)
    (told,) = faults(lambda: storm_conf.servers_conf(env))
    assert '"redis": "env:STORMLINE_REDIS"' in told
    (other,) = faults(lambda: conf(env, words_store=[url]))
    assert other.startswith("words.store has a password in it")
    assert "secret" not in told + other


def test_an_address_by_reference_goes_to_the_workers_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine looks by itself: in its environment or in a file; where there is nothing it says so."""
    (tmp_path / "redis").write_text("redis://:secret@store:6379/0\n")
    env = environment(tmp_path, redis=f"file:{tmp_path / 'redis'}", kafka="env:BROKERS")

    assert {"stormline.kafka": "env:BROKERS", "stormline.redis": f"file:{tmp_path / 'redis'}"} == (
        storm_conf.servers_conf(env)
    )
    assert "redis://:secret@store:6379/0" == resolved(str(env.redis), "redis")
    monkeypatch.delenv("BROKERS", raising=False)
    with pytest.raises(SettingsError, match="kafka is 'env:BROKERS', which this machine does not have"):
        resolved(str(env.kafka), "kafka")


def test_embedded_servers_are_not_for_a_cluster(tmp_path: Path) -> None:
    """Both are told; so is an address that is missing."""
    env = environment(tmp_path, kafka="embedded")._replace(redis=None)
    told = faults(lambda: storm_conf.servers_conf(env))
    assert 2 == len(told)
    assert '"kafka" of the environment "prod" in config.json is embedded' in told[0]
    assert '"redis" of the environment "prod" in config.json is not set' in told[1]


@pytest.mark.parametrize("name", ["a/b", "a.b", "a:b", "a\\b", " "])
def test_a_name_that_storm_would_refuse_is_refused(name: str) -> None:
    """One of / . : \\ in it, or nothing."""
    with pytest.raises(SettingsError, match="cannot be the name of a topology"):
        deploy.require_name(name)


def test_components_are_started_by_two_arguments_of_which_none_needs_a_mode(tmp_path: Path) -> None:
    """The workers' Python and one text; those of other languages keep their command, and the class its structure."""
    topology = load("shell").thrift_topology
    before = str(topology)
    made = commands.for_environment(topology, "prod")

    commands.set_commands(made, python="/opt/python3")

    shells = {name: commands.shell_of(each) for name, each in commands.components(made).items()}
    assert before == str(topology)
    ours = {name: shell.script for name, shell in shells.items() if shell.execution_command == "/opt/python3"}
    others = set(shells) - set(ours)
    assert ours
    assert others
    assert all(script.startswith("-cfrom runpy import run_path;") for script in ours.values())


def test_parallelism_is_that_of_the_environment(tmp_path: Path) -> None:
    """Every component that has none for it is told."""
    topology = commands.for_environment(load("wordcount").thrift_topology, "prod")
    for component in commands.components(topology).values():
        component.common.parallelism_hint = {"prod": 3, "test": 1}

    found = commands.for_environment(topology, "prod")
    assert {3} == {each.common.parallelism_hint for each in commands.components(found).values()}
    told = faults(lambda: commands.for_environment(topology, "stage"))
    assert 3 == len(told)
    assert all("par names the environments prod, test, but this is stage" in fault for fault in told)


def test_a_topology_too_large_for_one_frame_is_refused_with_what_is_large() -> None:
    """Nimbus would close the connection without a word. Just below the limit passes."""
    topology = load("wordcount").thrift_topology
    commands.require_small(topology, {"words.table": "x" * 1_000_000})
    with pytest.raises(SettingsError, match=r"Nimbus takes 1,048,576 at once. The largest: words.table \(1,100,002"):
        commands.require_small(topology, {"words.table": "x" * 1_100_000, "words.least": 1})


def test_the_workers_python_by_the_keys_of_streamparse(tmp_path: Path) -> None:
    """Wheels and `python3` by default; an existing virtualenv; one to be made."""
    by_default = worker_python(environment(tmp_path, virtualenv_root="/venvs"), "words")
    assert ("python3", None) == (by_default.command, by_default.virtualenv)
    assert by_default.wheels is not None

    there = {"use_virtualenv": True, "install_virtualenv": False, "virtualenv_root": "/venvs"}
    existing = worker_python(environment(tmp_path, **there), "words")
    assert ("/venvs/words/bin/python", None, None) == existing

    made = {"use_virtualenv": True, "virtualenv_root": "/venvs", "virtualenv_name": "all"}
    installed = worker_python(environment(tmp_path, **made), "words")
    assert "/venvs/all/bin/python" == installed.command
    assert installed.virtualenv is not None
    assert "/venvs/all" == installed.virtualenv.path


def test_keys_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """A virtualenv without a root, wheels beside a virtualenv, installing what is not used."""
    told = faults(lambda: worker_python(environment(tmp_path, use_virtualenv=True, python_version="3.12"), "words"))
    assert 2 == len(told)
    assert 1 == len(faults(lambda: worker_python(environment(tmp_path, install_virtualenv=True), "words")))


@pytest.mark.parametrize(("version", "expected"), [("3.12", "3.12"), ("3.10", None)])
def test_where_this_machine_is_the_worker_its_python_is_asked(
    tmp_path: Path, version: str, expected: str | None
) -> None:
    """The wheels are made for the version that it says; one that is too old is refused here already."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')}\n")
    python.chmod(0o755)
    env = environment(tmp_path, python=str(python))
    nimbus = nimbus_settings.read(env.name, env.stock, tmp_path, {})

    if expected is None:
        with pytest.raises(SettingsError, match=r"is 3\.10, and Stormline needs 3\.11 or newer"):
            asked_here(worker_python(env, "words"), env, nimbus)
    else:
        asked = asked_here(worker_python(env, "words"), env, nimbus)
        assert asked.wheels is not None
        assert expected == asked.wheels.python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This one's sources in a project of their own, with the wheels that are fetched already."""
    for name in ("src", "topologies", "virtualenvs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (ROOT / ".stormline" / "wheels").mkdir(parents=True, exist_ok=True)
    (tmp_path / ".stormline").mkdir()
    (tmp_path / ".stormline" / "wheels").symlink_to(ROOT / ".stormline" / "wheels")
    content = {"main": "purchases", "envs": {"prod": {**NIMBUS, **SERVERS}}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    return tmp_path


def sparse(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "STREAMPARSE_NIMBUS"}
    return subprocess.run(
        [sys.executable, "-m", "stormline.cli", "--project", str(project), *words],
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def test_a_dry_run_shows_everything_and_asks_nobody(project: Path) -> None:
    """No server is there, and none of the hooks is called; what is shown are components, settings and the JAR."""
    (project / "tasks.py").write_text("raise SystemExit('the hooks are loaded')\n")

    shown = sparse(project, "submit", "--dry-run", "-o", "words.least=5", "-w", "2")

    assert 0 == shown.returncode, shown.stderr
    for part in (
        "monthly  (bolt, 1 executors)",
        "words.least: 5",
        "topology.workers: 2",
        "stormline.kafka: 'broker:9092'",
    ):
        assert part in shown.stdout
    assert "site-packages/msgspec " in shown.stdout


def test_a_chained_component_is_shown_and_tried_as_every_other(project: Path) -> None:
    """In the picture below its own name, and by its name if workers would not find its class."""
    chained = "LargePurchases.spec(inputs=[purchases], chain=True)"
    text = (ROOT / "topologies" / "purchases.py").read_text()
    text = text.replace("LargePurchases.spec(inputs=[purchases])", chained)
    (project / "topologies").unlink()
    (project / "topologies").mkdir()
    topology = project / "topologies" / "purchases.py"
    topology.write_text(text)
    shown = sparse(project, "submit", "--dry-run")
    topology.write_text(text.replace("\n\n\nclass ", "\n\n\nclass Here(LargePurchases):\n    pass\n\n\nclass ", 1))
    topology.write_text(topology.read_text().replace(chained, chained.replace("LargePurchases", "Here")))
    refused = sparse(project, "jar")

    assert 0 == shown.returncode, shown.stderr
    for part in (
        "large  (bolt, chained: in the executors of purchases)\n    from purchases, stream batch",
        "from large, stream by_monthly, fields slot",
    ):
        assert part in shown.stdout
    assert 2 == refused.returncode
    assert "large: its class Here is in topologies.purchases, which is not in src/" in refused.stderr


def test_every_fault_is_told_before_anybody_is_asked(project: Path) -> None:
    """A bad name, a bad option, embedded servers and no Nimbus, in one message and with exit code 2."""
    content = {"envs": {"prod": {**NIMBUS, "nimbus": "a b", "kafka": "embedded", "redis": "embedded"}}}
    (project / "config.json").write_text(json.dumps(content))

    told = sparse(project, "submit", "-n", "purchases", "-N", "a.b", "-o", "topology.workers=none")

    assert 2 == told.returncode
    for part in ('"a.b" cannot be the name', "topology.workers is 'none'", '"kafka" of', '"redis" of', '"nimbus" of'):
        assert part in told.stderr, part


def test_jar_builds_the_same_file_twice(project: Path) -> None:
    """At the place that is asked for, and by default in _build."""
    first = sparse(project, "jar", "-o", str(project / "first.jar"))
    second = sparse(project, "jar")

    assert (0, 0) == (first.returncode, second.returncode), first.stderr + second.stderr
    assert (project / "first.jar").read_bytes() == (project / "_build" / "purchases.jar").read_bytes()
