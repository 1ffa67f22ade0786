"""A sink in a whole run: the real Kafka client, and each hosting."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from faults.conftest import Project
from kafka import KafkaConsumer, TopicPartition

from stormline.embedded.servers import EmbeddedServers

SINKS = '''
from stormline import KafkaSink, Message, Record


class Total(Record):
    start_ms: int
    purchases: int


class LargeOnes(KafkaSink):
    """Purchases as they are, by customer."""

    topic = "large"

    def message(self, purchase):
        return Message(purchase, key=str(purchase.user_id))


class Totals(KafkaSink):
    """The final row of each day."""

    topic = "totals"
    schema = Total
'''
TOPOLOGY = """
from stormline import Topology

from bolts.daily_purchases import DailyPurchases
from bolts.large_purchases import LargePurchases
from bolts.sinks import LargeOnes, Totals
from spouts.purchases import Purchases


class PurchasesTopology(Topology):
    purchases = Purchases.spec()
    large = LargePurchases.spec(inputs=[purchases])
    daily = DailyPurchases.spec(inputs=[large])
    large_ones = LargeOnes.spec(inputs=[large], par=2)
    totals = Totals.spec(inputs=[daily["final"]])
"""


@pytest.fixture
def sinking(project: Project) -> Project:
    """The purchases of the first days, and two sinks, for one of which the environment has partitions."""
    (project.root / "src" / "bolts" / "sinks.py").write_text(SINKS)
    (project.root / "topologies" / "purchases.py").write_text(TOPOLOGY)
    config = json.loads((project.root / "config.json").read_text())
    config["envs"]["embedded"]["topics"] = {"large": {"partitions": 3}, "totals": {}}
    (project.root / "config.json").write_text(json.dumps(config))
    return project


def written(project: Project, topic: str) -> dict[int, list[tuple[bytes | None, bytes, dict[str, bytes]]]]:
    """Partition -> key, value and headers of each message."""
    found: dict[int, list[tuple[bytes | None, bytes, dict[str, bytes]]]] = {}
    with EmbeddedServers.start(project.root / ".stormline") as servers:
        consumer = KafkaConsumer(bootstrap_servers=servers.kafka, enable_auto_commit=False)
        numbers = consumer.partitions_for_topic(topic) or set()
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for partition, records in consumer.poll(timeout_ms=1000).items():
                found.setdefault(partition.partition, []).extend((r.key, r.value, dict(r.headers)) for r in records)
        consumer.close()
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("hosting", [["--inline"], ["--workers", "2"], ["--multilang"]], ids=lambda words: words[0])
def test_what_sinks_write_is_complete_in_every_hosting(sinking: Project, hosting: list[str]) -> None:
    """Each kept purchase once, by key to its partition, with its origin; a message for each final day."""
    lines = (Path(sinking.root) / "data").glob("*.gz")
    assert list(lines)
    run = sinking.sparse("run", *hosting, within_s=500)
    assert run.returncode == 0, run.stdout + run.stderr

    large = written(sinking, "large")
    messages = [message for partition in large.values() for message in partition]
    assert len({headers["id"] for _, _, headers in messages}) == len(messages) == 69_173
    assert len({headers["origin"] for _, _, headers in messages}) == 69_173
    assert all(json.loads(value)["user_id"] == int(key or b"") for key, value, _ in messages)
    homes: dict[bytes | None, set[int]] = {}
    for number, partition in large.items():
        for key, _, _ in partition:
            homes.setdefault(key, set()).add(number)
    assert len(large) == 3
    assert all(len(numbers) == 1 for numbers in homes.values())

    totals = [json.loads(value) for _, value, _ in written(sinking, "totals")[0]]
    rows = [json.loads(line) for line in sinking.sparse("results", "daily", "--json").stdout.splitlines()]
    assert sorted(total["purchases"] for total in totals) == sorted(row["purchases"] for row in rows)
    assert 69_173 == sum(total["purchases"] for total in totals)


def test_a_topic_that_nobody_creates_is_told_and_waited_for(sinking: Project) -> None:
    """Nothing is committed meanwhile; the run says what to do."""
    config = json.loads((sinking.root / "config.json").read_text())
    del config["envs"]["embedded"]["topics"]["totals"]
    (sinking.root / "config.json").write_text(json.dumps(config))
    run = sinking.sparse("run", "-t", "12")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "cannot write to totals: topic totals: it does not exist on Kafka" in run.stdout
    assert '"topics": {"totals": {"partitions": 1}}' in run.stdout


@pytest.mark.timeout(600)
def test_whatever_dies_nothing_is_missing_and_what_came_twice_has_one_identity(sinking: Project) -> None:
    """SIGKILL to Kafka, later to the whole run; then every purchase is there, and by identity each just once."""
    sinking.slow()
    run = sinking.start("run")
    until_written(run)
    servers = json.loads((sinking.root / ".stormline" / "servers.json").read_text())
    os.killpg(servers["kafka"]["group"], signal.SIGKILL)
    until_written(run)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    last = sinking.sparse("run", within_s=500)
    assert last.returncode == 0, last.stdout + last.stderr

    messages = [message for partition in written(sinking, "large").values() for message in partition]
    by_id = {headers["id"]: value for _, value, headers in messages}
    assert len(by_id) == len({headers["origin"] for _, _, headers in messages}) == 69_173
    assert all(by_id[headers["id"]] == value for _, value, headers in messages)
    totals = {headers["id"]: json.loads(value) for _, value, headers in written(sinking, "totals")[0]}
    assert 69_173 == sum(total["purchases"] for total in totals.values())


def until_written(run: subprocess.Popen[str]) -> None:
    """Read what it shows, until the sink has written in that second."""
    assert run.stdout is not None
    for line in run.stdout:
        if line.split()[:1] == ["large_ones"] and line.split()[2] not in ("0", "-"):
            return
    raise AssertionError("the run ended too soon")
