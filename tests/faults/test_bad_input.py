"""Bad input to the whole program: told clearly, kept, counted; the rest goes on."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.conftest import Project
from kafka import KafkaConsumer, TopicPartition

from stormline.embedded.servers import EmbeddedServers

HEADER = "date,amount,user_id,items\n"


def feed(project: Project, rows: str) -> None:
    """Put rows in the place of the real ones."""
    with gzip.open(project.root / "data" / "cdnow.csv.gz", "wt") as file:
        file.write(HEADER + rows)


def letters(project: Project, topic: str) -> list[tuple[bytes, dict[str, bytes]]]:
    """The value and the headers of each record in a dead-letter topic."""
    with EmbeddedServers.start(project.root / ".stormline") as servers:
        consumer = KafkaConsumer(bootstrap_servers=servers.kafka, enable_auto_commit=False)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        found: list[tuple[bytes, dict[str, bytes]]] = []
        while len(found) < end:
            for records in consumer.poll(timeout_ms=1000).values():
                found += [(record.value, dict(record.headers)) for record in records]
        consumer.close()
    return found


def test_records_that_cannot_be_read_are_kept_with_their_reason(project: Project) -> None:
    """
    An amount that is no number and a missing one: in the summary, in the dead-letter topic, and in no result.
    """
    feed(project, "1997-01-01,10.00,1,1\n1997-01-02,ten,1,1\n1997-01-03,,1,1\n1997-01-04,7.50,1,1\n")
    run = project.sparse("run")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 read = 2 kept + 0 dropped + 2 broken" in run.stdout
    (row,) = [json.loads(line) for line in project.sparse("results", "monthly", "--json").stdout.splitlines()]
    assert (2, "17.50") == (row["purchases"], row["amount"])
    found = letters(project, "purchases.dead")
    assert 2 == len(found)
    for _, headers in found:
        assert b"$.amount" in headers["reason"]
        assert headers["component"] == b"purchases"
        assert headers["origin"].startswith(b"purchases/")


def test_a_filter_that_raises_loses_one_record_to_the_dead_letters(project: Project) -> None:
    """
    The message names component, function, file and line; the other records are counted.
    """
    bolt = project.root / "src" / "bolts" / "large_purchases.py"
    bolt.write_text(bolt.read_text().replace("purchase.amount >= LEAST", "LEAST / (purchase.items - 1) >= 0"))
    feed(project, "1997-01-01,10.00,1,1\n1997-01-02,20.00,1,2\n")
    run = project.sparse("run")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 read = 1 kept + 0 dropped + 1 broken" in run.stdout
    ((value, headers),) = letters(project, "purchases.dead")
    assert b"10.00" in value
    for part in (b"large: LargePurchases.keep", b"large_purchases.py:", b"DivisionByZero"):
        assert part in headers["reason"]


def test_a_component_that_fails_outright_ends_the_run_with_its_place(project: Project) -> None:
    """
    An error where no record can be set aside names component, file and line, and the exit code is not 0.
    """
    bolt = project.root / "src" / "bolts" / "daily_purchases.py"
    bolt.write_text(bolt.read_text() + "\n    def prepare(self, host):\n        raise KeyError('no such thing')\n")
    run = project.sparse("run")

    assert run.returncode != 0
    for part in ("error:", "daily", "KeyError", "daily_purchases.py"):
        assert part in run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A project's data directory with room for a few MB."""
    place = tmp_path / ".stormline"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", str(place)], capture_output=True)
    if mounted.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(f"CI must be able to mount a small tmpfs: {mounted.stderr.decode()}")
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tmpfs is Linux's")
def test_a_full_disk_ends_the_run_and_loses_nothing(project: Project, small_disk: Path) -> None:
    """
    The run says which disk is full and what to do; with more room the next one ends with the right numbers.
    """
    run = project.sparse("run")
    assert run.returncode != 0, run.stdout
    assert "is full" in run.stderr
    assert str(small_disk) in run.stderr

    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    again = project.sparse("run")
    assert again.returncode == 0, again.stdout + again.stderr
    rows = [json.loads(line) for line in project.sparse("results", "daily", "--json").stdout.splitlines()]
    assert 69_173 == sum(row["purchases"] for row in rows)


def test_a_redis_that_may_forget_is_refused_with_what_to_set(project: Project) -> None:
    """
    The environment `local` does not start on a Redis that does not sync before it answers.
    """
    with EmbeddedServers.start(project.root / "elsewhere") as servers:
        config = json.loads((project.root / "config.json").read_text())
        config["envs"]["local"] |= {"kafka": servers.kafka, "redis": servers.redis_url}
        (project.root / "config.json").write_text(json.dumps(config))
        from stormline.connectors.redis import connect

        client = connect(servers.redis_url)
        client.config_set("appendfsync", "everysec")
        run = project.sparse("run", "-e", "local", "-t", "1")
        assert run.returncode == 2
        assert "redis-cli CONFIG SET appendfsync always" in run.stderr

        client.config_set("appendfsync", "always")
        from stormline.connectors.brokers import Brokers
        from stormline.connectors.kafka import ensure_topic

        ensure_topic(Brokers(servers.kafka), "purchases", 1)
        run = project.sparse("run", "-e", "local", "-t", "1")
        assert run.returncode == 0, run.stdout + run.stderr
        client.close()


def test_a_topic_made_anew_between_two_runs_stops_the_next_one(project: Project) -> None:
    """
    What is counted comes from records that are gone: nothing is added to it, and it is said what to do.
    """
    feed(project, "1997-01-01,10.00,1,1\n1997-01-02,20.00,1,2\n")
    assert project.sparse("run").returncode == 0
    from stormline.connectors.brokers import Brokers
    from stormline.connectors.kafka import delete_topic

    with EmbeddedServers.start(project.root / ".stormline") as servers:
        delete_topic(Brokers(servers.kafka), "purchases")
    run = project.sparse("run")
    assert run.returncode != 0, run.stdout
    assert "topic purchases was deleted and made anew" in run.stderr
    assert "--fresh" in run.stderr
    (row,) = [json.loads(line) for line in project.sparse("results", "monthly", "--json").stdout.splitlines()]
    assert row["purchases"] == 2

    again = project.sparse("run", "--fresh")
    assert again.returncode == 0, again.stdout + again.stderr
    (row,) = [json.loads(line) for line in project.sparse("results", "monthly", "--json").stdout.splitlines()]
    assert row["purchases"] == 2
