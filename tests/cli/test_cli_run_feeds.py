"""Which feeds of an environment belong to a topology, and which name a topic that nobody reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stormline.cli import run, topologies
from stormline.cli.config import find_project
from stormline.core.errors import SettingsError

TOPOLOGY = """
from stormline import KafkaSpout, Record, Topology

class Line(Record):
    n: int

class Lines(KafkaSpout):
    topic = "{topic}"
    schema = Line

class LinesTopology(Topology):
    lines = Lines.spec()
"""


def project(root: Path, **read: str) -> Path:
    """A project whose topologies read these topics; the embedded environment feeds `raws` and `trades`."""
    (root / "topologies").mkdir()
    for name, topic in read.items():
        (root / "topologies" / f"{name}.py").write_text(TOPOLOGY.format(topic=topic))
    (root / "f.csv").write_text("n,at\n1,2020-01-01\n")
    settings = {"file": "f.csv", "key": "n", "event_time": "at", "partitions": 1}
    feed = {"trades": settings, "raws": settings}
    envs = {"embedded": {"kafka": "embedded", "redis": "embedded", "feed": feed}}
    (root / "config.json").write_text(json.dumps({"topology_specs": "topologies/", "envs": envs}))
    return root


def fed(root: Path, name: str) -> list[str]:
    found = find_project(root)
    loaded = topologies.load(found, name)
    return [feed.topic for feed in run._feeds(found, found.environment("embedded"), loaded)]


def test_a_feed_of_another_topology_is_no_typing_error_however_alike_the_names_are(tmp_path: Path) -> None:
    """`trades` is near enough to `raws` to be taken for it, but it is what the other topology reads."""
    root = project(tmp_path, mine="raws", other="trades")
    assert fed(root, "mine") == ["raws"]
    assert fed(root, "other") == ["trades"]


def test_a_feed_of_a_topic_that_no_topology_reads_is_told_where_one_is_like_it(tmp_path: Path) -> None:
    """A topology that cannot be loaded reads nothing; it is not what was asked for, and keeps nobody from running."""
    root = project(tmp_path, mine="trade")
    (root / "topologies" / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(
        SettingsError, match=r'feed\.trades: no spout of mine\.py reads this topic.*did you mean "trade"'
    ):
        fed(root, "mine")
