"""Kafka in earnest on a real Storm: confluent-kafka by the setting, TLS and SASL with a secret of the workers' machine,
a sink, and a record that kills its worker.

One app, on workers with a bare Python, and an Apache Kafka that lets nobody in otherwise. Each test goes on from the
one before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cluster.apps import WHEELS, components
from cluster.conftest import PASSWORD, PATIENCE, PATIENCE_MS, SECRET
from cluster.test_cluster import until
from cluster.test_faults_on_storm import WITHIN_S
from connectors.kafka_secured import USER, SecuredKafka
from faults.conftest import Project
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from stormline.cluster import deploy, nimbus
from stormline.cluster.cluster import Cluster
from stormline.cluster.settings import Settings
from stormline.connectors.brokers import Brokers
from stormline.connectors.kafka import delete_topic, ensure_topic
from stormline.connectors.progress import progress
from stormline.connectors.redis import connect
from stormline.connectors.redis_commands import app_key
from stormline.connectors.results import Results
from stormline.embedded.ports import HOST

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="no cluster on Windows"),
]
APP = "payments"
PARTITIONS = 2
USERS = 3
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""The worker is started ten times."""
SOURCES = {
    "src/spouts/payments.py": """
from decimal import Decimal

from stormline import KafkaSpout, Record


class Payment(Record):
    number: int
    user: str
    amount: Decimal
    deadly: bool = False


class Payments(KafkaSpout):
    topic = "payments"
    schema = Payment
""",
    "src/bolts/payments.py": """
import os
from pathlib import Path

from stormline import Count, FilterBolt, KafkaSink, Message, Sum, WindowBolt, global_window

HARMLESS = Path({harmless!r})


class Checked(FilterBolt):
    def keep(self, payment):
        if payment.deadly and not HARMLESS.exists():
            os._exit(66)
        return payment.amount > 0


class Receipts(KafkaSink):
    topic = "receipts"

    def message(self, payment):
        return Message({{"number": payment.number, "amount": payment.amount}}, key=payment.user)


class Totals(WindowBolt):
    key = "user"
    window = global_window()
    aggregate = {{"payments": Count(), "amount": Sum("amount")}}
""",
    "topologies/payments.py": """
from bolts.payments import Checked, Receipts, Totals
from spouts.payments import Payments
from stormline import Topology


class PaymentsTopology(Topology):
    payments = Payments.spec()
    checked = Checked.spec(inputs=[payments])
    receipts = Receipts.spec(inputs=[checked])
    totals = Totals.spec(inputs=[checked])
""",
}


class App:
    """The topology, its two servers, and what was fed."""

    def __init__(self, root: Path, settings: Settings, kafka: SecuredKafka, python: str) -> None:
        self.settings, self.kafka = settings, kafka
        self.fed = self.first = 0
        """Payments; and the first one since the topic of the receipts was made."""
        self.harmless = root / "harmless"
        root.mkdir()
        self.project = Project(root)
        for folder in ("src/spouts", "src/bolts", "topologies"):
            shutil.rmtree(root / folder)
            (root / folder).mkdir()
        for name, text in SOURCES.items():
            (root / name).write_text(text.format(harmless=str(self.harmless)) if "{harmless" in text else text)
        WHEELS.mkdir(parents=True, exist_ok=True)
        (root / ".stormline").mkdir()
        (root / ".stormline" / "wheels").symlink_to(WHEELS)
        environment = {
            "nimbus": f"{HOST}:{settings.nimbus_port}",
            "use_ssh_for_nimbus": False,
            "workers": ["localhost"],
            "python": python,
            "kafka": {
                "bootstrap": kafka.both,
                "client": "confluent",
                "tls": {"ca": str(kafka.ca)},
                "sasl": {"mechanism": "SCRAM-SHA-512", "user": USER, "password": f"env:{SECRET}"},
            },
            "redis": f"redis://{HOST}:{settings.redis_port}/0",
        }
        (root / "config.json").write_text(json.dumps({"main": APP, "envs": {"cluster": environment}}))
        self.redis = connect(environment["redis"])

    def sparse(self, verb: str, *words: str) -> str:
        """What it says on both outputs; it must succeed."""
        done = self.project.sparse(verb, *words, "-n", APP, "-e", "cluster", within_s=WITHIN_S)
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def submit(self, *, timeout_s: int = 5) -> str:
        """`timeout_s`: of tuples."""
        options = {"topology.message.timeout.secs": timeout_s, "topology.worker.childopts": QUICK_START}
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return self.sparse("submit", "--workers", "1", *given, *PATIENCE)

    def end(self) -> None:
        with nimbus.connect(HOST, self.settings.nimbus_port, PATIENCE_MS) as client:
            deploy.end(client, APP, 0)

    def feed(self, count: int, deadly: Iterable[int] = ()) -> None:
        """So many payments more."""
        producer = KafkaProducer(bootstrap_servers=self.kafka.plain)
        deadly = set(deadly)
        for number in range(self.fed, self.fed + count):
            payment = {"number": number, "user": f"u{number % USERS}", "amount": 1.5, "deadly": number in deadly}
            producer.send("payments", json.dumps(payment).encode(), partition=number % PARTITIONS)
        producer.flush(60)
        producer.close()
        self.fed += count

    def is_through(self) -> bool:
        """All that was fed is committed."""
        return self.committed() == self.fed

    def committed(self) -> int:
        return sum(int(offset) for offset in self.redis.hvals(app_key(APP, "commits")))

    def failures(self) -> list[int]:
        """Of the batch that each partition waits for."""
        return [each.failures for each in progress(self.redis, APP).standings.values()]

    def numbers(self) -> set[int]:
        """Of the payments whose receipts there are, if all is well."""
        return set(range(self.first, self.fed))

    def receipts(self) -> dict[int, list[bytes]]:
        """Number of a payment -> the `id` of each message about it."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka.plain, enable_auto_commit=False)
        partitions = [TopicPartition("receipts", number) for number in consumer.partitions_for_topic("receipts")]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: dict[int, list[bytes]] = {}
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    found.setdefault(json.loads(record.value)["number"], []).append(dict(record.headers)["id"])
        consumer.close()
        return found

    def totals(self) -> dict[str, tuple[int, str]]:
        return {
            row.key: (row.values["payments"], row.values["amount"]) for row in Results(self.redis, APP).rows("totals")
        }

    def expected_totals(self, *, without: Iterable[int] = ()) -> dict[str, tuple[int, str]]:
        counts = Counter(f"u{number % USERS}" for number in set(range(self.fed)) - set(without))
        return {user: (count, str(count * Decimal("1.5"))) for user, count in counts.items()}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    server = SecuredKafka(tmp_path_factory.mktemp("secured"))
    yield server
    server.end()


@pytest.fixture(scope="module")
def app(
    started: Cluster,
    settings: Settings,
    secured: SecuredKafka,
    bare_python: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[App]:
    """Submitted while the sink's topic does not exist, which is told."""
    started.up()
    made = App(tmp_path_factory.mktemp("payments") / "project", settings, secured, bare_python)
    ensure_topic(Brokers(secured.plain), "payments", PARTITIONS)
    said = made.submit()
    assert "warning: receipts cannot write to the topic receipts: it does not exist on Kafka at" in said
    try:
        yield made
    finally:
        started.up()
        made.end()


def test_a_sink_waits_for_its_topic_and_then_writes_each_message_once(cluster: Cluster, app: App) -> None:
    """
    `explain` and `stats` say what it waits for, and blame no record, however often all of it was emitted meanwhile.
    """
    assert cluster
    app.feed(2_000)
    until(lambda: len(app.failures()) == PARTITIONS and min(app.failures()) >= 1, WITHIN_S)
    explained = app.sparse("explain")
    assert "timed out, as receipts cannot write to receipts, which does not exist" in explained
    assert "dlq skip" not in explained
    assert 'have the environment in config.json do so: "topics": {"receipts": {"partitions": 1}}' in explained
    assert "cannot write to receipts: topic receipts: it does not exist" in app.sparse("stats")
    assert 0 == app.committed()
    ensure_topic(Brokers(app.kafka.plain), "receipts", PARTITIONS)
    until(app.is_through, WITHIN_S)
    assert dict.fromkeys(app.numbers(), 1) == {number: len(ids) for number, ids in app.receipts().items()}
    assert app.expected_totals() == app.totals()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_the_client_of_the_setting_reads_and_writes(cluster: Cluster, app: App) -> None:
    """
    On workers whose Python has no package: librdkafka, from the JAR, is loaded by the spout and the sink.
    """
    assert app
    for kind in ("spout", "bolt"):
        libraries = [Path(f"/proc/{pid}/maps").read_text() for pid in components(cluster, APP, kind)]
        assert any("/resources/" in text and "librdkafka" in text for text in libraries), kind


def test_the_secret_is_told_to_nobody(cluster: Cluster, app: App) -> None:
    """
    The topology's configuration, as Nimbus gives it to everybody, has the variable's name; neither Storm's data nor any
    log has what is in it.
    """
    with nimbus.connect(HOST, app.settings.nimbus_port, PATIENCE_MS) as client:
        (number,) = [each.id for each in client.getClusterInfo().topologies if each.name == APP]
        conf: Any = json.loads(client.getTopologyConf(number))
    assert conf["stormline.kafka"]["sasl"]["password"] == f"env:{SECRET}"
    files = [path for path in (cluster.storm_home / "data").rglob("*") if path.is_file()]
    logs = [path for path in (cluster.storm_home.parent / "logs").rglob("*") if path.is_file()]
    assert any(number in str(path) for path in files)
    assert any(number in str(path) for path in logs)
    assert [] == [path for path in files + logs if PASSWORD.encode() in path.read_bytes()]


def test_what_the_broker_has_not_confirmed_is_not_acked(cluster: Cluster, app: App) -> None:
    """
    The sink's topic is deleted, and the worker killed while messages wait for it: none of them is missing afterwards,
    and what comes twice has one `id`.
    """
    before = app.committed()
    (worker,) = [worker.pid for worker in cluster.status().workers if worker.name.startswith(f"{APP}-")]
    delete_topic(Brokers(app.kafka.plain), "receipts")
    app.first = app.fed
    app.feed(1_000)
    until(lambda: max(app.failures()) >= 1, WITHIN_S)
    assert before == app.committed()
    os.kill(worker, signal.SIGKILL)
    ensure_topic(Brokers(app.kafka.plain), "receipts", PARTITIONS)
    until(app.is_through, WITHIN_S)
    receipts = app.receipts()
    assert app.numbers() == set(receipts)
    assert all(len(set(ids)) == 1 for ids in receipts.values())
    assert len(receipts) == len({ids[0] for ids in receipts.values()})
    assert app.expected_totals() == app.totals()


def test_what_was_acked_is_not_read_again(cluster: Cluster, app: App) -> None:
    """
    Neither after a rest nor, once it is killed in time, by the next run: nothing is written that was written before.
    """
    assert cluster
    before = app.receipts()
    app.sparse("deactivate")
    app.feed(1_000)
    app.sparse("activate")
    until(app.is_through, WITHIN_S)
    app.sparse("kill", "--wait", "1")
    app.feed(1_000)
    app.end()
    app.submit(timeout_s=30)  # a spout may begin long before its bolts, where four processes start on two cores
    until(app.is_through, WITHIN_S)
    after = app.receipts()
    assert before == {number: ids for number, ids in after.items() if number in before}
    assert app.numbers() == set(after)
    assert {1} == {len(ids) for number, ids in after.items() if number not in before}
    assert app.expected_totals() == app.totals()


def test_a_record_that_kills_its_worker_is_named_passed_over_and_sent_again(cluster: Cluster, app: App) -> None:
    """
    While the topology runs: Storm starts the worker again each time, and each time less is on its way.
    """
    assert cluster
    deadly = app.fed + 30
    app.feed(60, deadly=[deadly])
    until(lambda: progress(app.redis, APP).blamed, 2 * WITHIN_S)
    explained = app.sparse("explain")
    (record,) = re.findall(r"(\S+) was emitted alone", explained)
    assert f"`sparse dlq skip {record}` makes it a dead letter" in explained
    app.sparse("dlq", "skip", record)
    until(app.is_through, WITHIN_S)
    assert app.numbers() - {deadly} == set(app.receipts())
    assert app.expected_totals(without=[deadly]) == app.totals()
    (letter,) = [json.loads(line) for line in app.sparse("dlq", "list", "--json").splitlines()]
    assert (letter["origin"], json.loads(letter["value"])["number"]) == (record, deadly)
    app.harmless.touch()
    assert "1 of 1 sent again" in app.sparse("dlq", "replay")
    until(lambda: app.committed() == app.fed + 1, WITHIN_S)
    assert app.numbers() == set(app.receipts())
    assert app.expected_totals() == app.totals()
