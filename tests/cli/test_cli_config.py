"""config.json: every fault is told, with its place and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stormline.cli import config
from stormline.connectors.brokers import Brokers
from stormline.core.errors import SettingsError


def faults(root: Path, content: Any) -> list[str]:
    """What is told of this content."""
    (root / "config.json").write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    with pytest.raises(SettingsError) as caught:
        config.load(root)
    return list(caught.value.faults)


def test_all_faults_of_the_file_are_told_at_once_with_the_nearest_known_names(tmp_path: Path) -> None:
    """Three typos and a wrong value give four faults, each with the line, and a suggestion where a name is near."""
    told = faults(
        tmp_path,
        {
            "seriializer": "json",
            "envs": {"embedded": {"kafak": "embedded", "redis": "embedded", "redis_prot": 1, "kafka_port": 70000}},
        },
    )
    assert len(told) == 4 + 1  # kafka_port without "kafka": "embedded", too
    for expected in (
        'line 2: seriializer is an unknown key; did you mean "serializer"?',
        'line 5: envs.embedded.kafak is an unknown key; did you mean "kafka"?',
        'line 7: envs.embedded.redis_prot is an unknown key; did you mean "redis_port"?',
        "line 8: envs.embedded.kafka_port must be a port, 0 (any free one) to 65535, got 70000",
    ):
        assert any(expected in fault for fault in told), (expected, told)


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """It belongs where each machine finds it; a message may end up in a log."""
    sasl = {"mechanism": "PLAIN", "user": "ann", "password": "correct-horse-7"}
    (told,) = faults(tmp_path, {"envs": {"e": {"kafka": {"bootstrap": "b:1", "sasl": sasl}}}})
    assert (
        'e.kafka.sasl.password must be "env:NAME" or "file:PATH", where each machine finds it, not the secret' in told
    )
    assert "horse" not in told


def test_kafka_may_say_more_than_its_addresses(tmp_path: Path) -> None:
    """An object with the addresses and the client; the embedded one keeps its own keys."""
    content = {"envs": {"e": {"kafka": {"bootstrap": "embedded", "client": "confluent"}, "kafka_port": 1}}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    env = config.load(tmp_path).environment("e")
    assert Brokers("embedded", "confluent") == env.kafka
    assert env.has_embedded_kafka


def test_broken_json_is_told_with_line_and_column(tmp_path: Path) -> None:
    """A missing comma in line 3 is told as line 3, with the column."""
    (fault,) = faults(tmp_path, '{\n  "envs": {}\n  "serializer": "json"\n}\n')
    assert f"{tmp_path / 'config.json'}, line 3, column 3: broken JSON" in fault


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([], "the file must be an object"),
        ({"envs": []}, "envs must be an object"),
        (
            {"envs": {"e": {"kafka": "localhost"}}},
            'must be "embedded", or brokers as "host:port,host:port", or "env:NAME" or "file:PATH", where each machine '
            'finds it, got "localhost"',
        ),
        (
            {"envs": {"e": {"python_version": "3.9"}}},
            'python_version must be the workers\' Python as "3.11", which is also the oldest that will do, got "3.9"',
        ),
        ({"envs": {"e": {"kafka": 9092}}}, 'e.kafka must be "embedded", or brokers as "host:port,host:port", or'),
        ({"envs": {"e": {"kafka": {"client": "confluent"}}}}, 'e.kafka needs "bootstrap": "host:port,host:port"'),
        ({"envs": {"e": {"kafka": {"bootstrap": "b:1", "clint": ""}}}}, "kafka.clint is an unknown key; did you mean"),
        (
            {"envs": {"e": {"kafka": {"bootstrap": "b:1", "client": "java"}}}},
            'e.kafka.client must be "kafka-python" or "confluent", got "java"',
        ),
        ({"envs": {"e": {"kafka": {"bootstrap": "b:1", "tls": "yes"}}}}, 'e.kafka.tls must be true, or {"ca":'),
        ({"envs": {"e": {"kafka": {"bootstrap": "b:1", "tls": {"cafile": "x"}}}}}, "tls.cafile is an unknown key"),
        ({"envs": {"e": {"kafka": {"bootstrap": "b:1", "sasl": {}}}}}, "sasl needs mechanism and user and password"),
        (
            {"envs": {"e": {"kafka": {"bootstrap": "b:1", "sasl": {"mechanism": "GSSAPI"}}}}},
            "sasl.mechanism must be PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512, got",
        ),
        (
            {"envs": {"e": {"kafka": {"bootstrap": "embedded", "tls": True}}}},
            'e.kafka.tls only has a meaning where "bootstrap" is not "embedded"',
        ),
        ({"envs": {"e": {"redis": "localhost:6379"}}}, 'must be "embedded", or a URL'),
        ({"envs": {"e": {"feed": []}}}, "feed must be an object"),
        ({"envs": {"e": {"durability": "none"}}}, 'must be "fsync" or "memory"'),
        ({"envs": {"e": {"topics": {"t": 3}}}}, 'envs.e.topics.t must be as {"partitions": 1}, got 3'),
        ({"envs": {"e": {"topics": {"t": {"partitions": 0}}}}}, "t.partitions must be a whole number above 0, got 0"),
        ('{"envs": {}, "envs": {}}', 'has "envs" twice'),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "broken JSON"),
    ],
)
def test_each_wrong_value_says_what_it_must_be(tmp_path: Path, content: Any, expected: str) -> None:
    """A value of the wrong kind is told with what it must be and what came."""
    assert any(expected in fault for fault in faults(tmp_path, content))


def test_the_keys_of_streamparse_are_accepted(tmp_path: Path) -> None:
    """A configuration as streamparse 5 writes and reads it has no faults."""
    prod = {
        "user": "", "ssh_password": "", "nimbus": "", "workers": [], "use_ssh_for_nimbus": False, "ssh_port": 22,
        "log": {"path": "", "max_bytes": 1000000, "backup_count": 10, "level": "info"}, "virtualenv_root": "",
        "use_virtualenv": True, "install_virtualenv": True, "virtualenv_name": "x", "virtualenv_flags": "-p python3",
        "sudo_user": "root", "options": {"topology.workers": 2}, "ui.port": 8080, "serializer": "json",
    }  # fmt: skip
    content = {
        "serializer": "json",
        "topology_specs": "topologies/",
        "virtualenv_specs": "virtualenvs/",
        "envs": {"prod": prod},
    }
    (tmp_path / "config.json").write_text(json.dumps(content))
    env = config.load(tmp_path).environment("prod")
    assert (env.kafka, env.redis, dict(env.feed)) == (None, None, {})


def test_an_unknown_environment_is_told_with_those_that_exist(tmp_path: Path) -> None:
    """`-e locl` names the environments that exist and the one that is like it."""
    (tmp_path / "config.json").write_text('{"envs": {"embedded": {}, "local": {}}}')
    with pytest.raises(SettingsError, match='no environment "locl"; did you mean "local"\\?; it has embedded, local'):
        config.load(tmp_path).environment("locl")


@pytest.mark.parametrize(
    ("environments", "found"),
    [(["prod"], "prod"), (["embedded", "prod"], "embedded"), (["prod", "test"], None)],
    ids=["the only one", "embedded", "neither"],
)
def test_without_e_the_embedded_environment_is_meant_or_the_only_one(
    tmp_path: Path, environments: list[str], found: str | None
) -> None:
    """A stock project with one environment needs no `-e`, as with streamparse; among several somebody has to choose."""
    (tmp_path / "config.json").write_text(json.dumps({"envs": {name: {} for name in environments}}))
    project = config.load(tmp_path)
    if found is not None:
        assert found == project.environment(None).name
    else:
        with pytest.raises(SettingsError, match="say which with -e: prod, test"):
            project.environment(None)


def test_the_project_is_found_from_below_and_missed_outside(tmp_path: Path) -> None:
    """Any directory under the one with config.json is in the project; a directory beside it is not."""
    below = tmp_path / "project" / "src" / "bolts"
    below.mkdir(parents=True)
    (tmp_path / "project" / "config.json").write_text('{"envs": {}}')
    assert config.find_project(below).root == tmp_path / "project"
    with pytest.raises(SettingsError, match=r"no config\.json"):
        config.find_project(tmp_path)


def test_the_configuration_of_this_repository_is_right() -> None:
    """The repository's own config.json has no faults and its default environment needs no server."""
    project = config.find_project(Path(__file__).parent)
    env = project.environment(None)
    assert (env.kafka, env.redis) == (Brokers("embedded"), "embedded")
    assert set(env.feed) == {"purchases", "trades"}
    assert project.main == "purchases"
