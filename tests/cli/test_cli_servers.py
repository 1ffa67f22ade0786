"""Servers of an environment that are not there, for the commands that work beside a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stormline.cli import config
from stormline.cli.servers import beside
from stormline.core.errors import ServerError


def test_a_kafka_that_is_not_there_is_told_before_the_embedded_redis_starts(tmp_path: Path) -> None:
    """As `run` does: a client would try for ten seconds."""
    envs = {"mixed": {"kafka": "127.0.0.1:1", "redis": "embedded"}}
    (tmp_path / "config.json").write_text(json.dumps({"envs": envs}))
    project = config.find_project(tmp_path)
    with (
        pytest.raises(ServerError, match='Kafka at 127.0.0.1:1 does not answer: .*\n.*environment "mixed"'),
        beside(project, project.environment("mixed"), print),
    ):
        raise AssertionError("nothing is there to work with")
    assert not (tmp_path / ".stormline").exists()
