"""TLS and SASL with each client, against Apache Kafka; and read_committed, which the development broker is held to
elsewhere."""

import http.server
import logging
import socket
import threading

import pytest
from confluent_kafka import Producer
from kafka_connector_parts import WAIT_S, Inbox
from kafka_secured import PASSWORD, USER, SecuredKafka

from stormline.connectors import kafka as kafka_admin
from stormline.connectors.brokers import CLIENTS, Brokers, Sasl, Tls
from stormline.connectors.feed import Feed
from stormline.connectors.feed_file import CsvFile
from stormline.connectors.feed_settings import FeedSettings
from stormline.connectors.kafka import ensure_topic, partition_count
from stormline.connectors.kafka_clients import Address, Unanswered, consumer
from stormline.connectors.kafka_probe import fault
from stormline.connectors.kafka_reader import KafkaReader
from stormline.connectors.kafka_writer import KafkaWriter
from stormline.core.errors import ServerError, SettingsError
from stormline.core.events import Assigned, Committed, Fetched, Trouble


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    server = SecuredKafka(tmp_path_factory.mktemp("secured"))
    yield server
    server.end()


@pytest.fixture(autouse=True)
def secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("USER_HERE", USER)
    monkeypatch.setenv("WRONG", "wrong-horse-8")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")


@pytest.fixture
def password(tmp_path):
    return f"file:{tmp_path / 'password'}"


@pytest.fixture
def topic(request):
    return "".join(each if each.isalnum() else "-" for each in request.node.name)


def reading(brokers, topic):
    inbox = Inbox()
    reader = KafkaReader(
        brokers,
        topics=topic,
        group="g",
        task_index=0,
        task_count=1,
        max_batch=10,
        timestamps=False,
        on_event=inbox.events.append,
        post=inbox.post,
    )
    return reader, inbox


def test_the_first_group_that_a_new_kafka_hears_of(kafka, topic):
    """It has no coordinator yet, and makes one; confluent-kafka's administrative client would end the process here. So
    this test is the first of the file."""
    ensure_topic(Brokers(kafka.plain), topic, 1)
    client = consumer(Brokers(kafka.plain, "confluent"), "g", max_batch=100, timestamps=False)
    assert client.committed([Address(topic, 0)]) == {Address(topic, 0): None}
    client.close()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("tls", None), ("sasl", "SCRAM-SHA-256"), ("both", "PLAIN"), ("both", "SCRAM-SHA-256"), ("both", "SCRAM-SHA-512")],
)
def test_reader_writer_and_administration_get_in(kafka, topic, password, tmp_path, client, listener, mechanism):
    """A topic is created and fed, a record written, all of it read, and an offset committed."""
    brokers = Brokers(
        getattr(kafka, listener),
        client,
        Tls(str(kafka.ca)) if listener != "sasl" else None,
        Sasl(mechanism, "env:USER_HERE", password) if mechanism else None,
    ).found_here("kafka")
    assert fault(brokers) is None
    (tmp_path / "f.csv").write_text("user\nann\nbob\n")
    assert Feed(brokers, FeedSettings(topic, CsvFile(tmp_path / "f.csv", None, None), 1)).run().sent == 2
    assert partition_count(brokers, topic) == 1
    written = Inbox()
    writer = KafkaWriter(brokers, create=False, post=written.post)
    writer.send(topic, key=None, value=b"written", headers=[], done=written.events.append)
    written.until(lambda: written.events == [None])
    writer.close()
    reader, inbox = reading(brokers, topic)
    [standing] = inbox.next(Assigned).standings
    reader.start({standing.partition: 0})
    values = []
    while len(values) < 3:
        reader.want(frozenset([standing.partition]))
        values += inbox.next(Fetched).values
    assert values[2] == b"written"
    reader.commit({standing.partition: 3})
    assert inbox.next(Committed) == Committed({standing.partition: 3})
    reader.close()


class _Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def web():
    """The address of a web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def nobody():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


WRONG = {
    "wrong password, PLAIN": lambda k: (Brokers(k.both, "", Tls(str(k.ca)), Sasl("PLAIN", USER, "env:WRONG")), "PLAIN"),
    "wrong password, SCRAM": lambda k: (
        Brokers(k.sasl, "", None, Sasl("SCRAM-SHA-256", USER, "env:WRONG")),
        "does not take this user and password (SCRAM-SHA-256); correct them",
    ),
    "unknown user": lambda k: (
        Brokers(k.both, "", Tls(str(k.ca)), Sasl("SCRAM-SHA-512", "eve", "env:WRONG")),
        "does not take this user and password (SCRAM-SHA-512); correct them",
    ),
    "unknown CA": lambda k: (
        Brokers(k.tls, "", Tls()),
        "not trusted here (unable to get local issuer certificate); name",
    ),
    "another host": lambda k: (
        Brokers(k.tls.replace("127.0.0.1", "localhost"), "", Tls(str(k.ca))),
        "has a certificate for another host (Hostname mismatch",
    ),
    "plain to TLS": lambda k: (Brokers(k.tls), 'wants TLS on this port; say so in config.json: "tls": true'),
    "TLS to plain": lambda k: (Brokers(k.plain, "", Tls(str(k.ca))), "does not speak TLS on this port; leave"),
    "no SASL to SASL": lambda k: (Brokers(k.sasl), "wants to know who asks (SASL); say so in config.json"),
    "SASL to plain": lambda k: (
        Brokers(k.plain, "", None, Sasl("PLAIN", USER, "env:WRONG")),
        "takes no SASL on this port; leave",
    ),
    "unknown mechanism": lambda k: (
        Brokers(k.both, "", Tls(str(k.ca)), Sasl("GSSAPI", USER, "env:WRONG")),
        "does not take GSSAPI, but PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; correct",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_the_address_and_what_to_do(kafka, case):
    """And without a secret."""
    brokers, expected = WRONG[case](kafka)
    told = fault(brokers)
    assert told.startswith(f"Kafka at {brokers} ")
    assert expected in told
    assert "horse" not in told


def test_what_is_no_kafka_is_named(web, nobody):
    """A port where nobody listens, a web server, a name that nobody has; one good address of several is enough."""
    assert f"Kafka at {nobody} does not answer: " in fault(Brokers(nobody))
    assert "does not speak Kafka's protocol; is it the port of a broker?" in fault(Brokers(web))
    assert "does not speak TLS on this port" in fault(Brokers(web, "", Tls()))
    assert "no machine here knows no-such-host.invalid" in fault(Brokers("no-such-host.invalid:9092"))


def test_one_address_that_lets_in_is_enough(kafka, nobody):
    assert fault(Brokers(f"{nobody}, {kafka.plain}")) is None


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", ["unknown CA", "another host"])
def test_a_broker_that_proves_nothing_is_not_talked_to(kafka, case, client):
    """Each client has TLS of its own: both look at the certificate and at the host."""
    brokers = WRONG[case](kafka)[0]._replace(client=client)
    with pytest.raises(Unanswered):
        consumer(brokers, "g", max_batch=100, timestamps=False).topics(["t"])


@pytest.mark.parametrize("client", CLIENTS)
def test_whoever_is_not_let_in_is_told_why(kafka, client, caplog, capfd, monkeypatch):
    """The spout by its reader, which goes on trying; the sink by its writer; the command line at once. Nobody sees a
    secret, in a log or anywhere."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(kafka_admin, "CONNECT_MS", 1_000)
    brokers, expected = WRONG["wrong password, SCRAM"](kafka)
    brokers = brokers._replace(client=client)
    reader, inbox = reading(brokers, "t")
    trouble = inbox.next(Trouble)
    reader.close()
    assert expected in trouble.message
    assert not trouble.fatal
    with pytest.raises(ServerError) as caught:
        ensure_topic(brokers, "t", 1)
    assert expected in str(caught.value)
    written = Inbox()
    writer = KafkaWriter(brokers, create=True, post=written.post)
    writer.send("t", key=None, value=b"v", headers=[], done=written.events.append)
    written.until(lambda: bool(written.events))
    writer.close()
    assert expected in written.events[0].reason
    seen = (
        f"{trouble} {caught.value!r} {written.events} {brokers!r} {brokers.conf()} {caplog.text} {capfd.readouterr()}"
    )
    assert "horse" not in seen


def test_a_secret_that_is_not_here_is_told_before_anything_starts(tmp_path, kafka):
    """Which variable or file; and a CA that is none."""
    for reference in ("env:NOT_SET_HERE", f"file:{tmp_path / 'none'}"):
        with pytest.raises(SettingsError, match="the SASL password is '.*', which this machine does not have"):
            Brokers("b:1", sasl=Sasl("PLAIN", USER, reference)).found_here("kafka")
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in ("ca.pem", "none.pem"):
        with pytest.raises(SettingsError, match="is no file with certificates in PEM on this machine"):
            Brokers("b:1", tls=Tls(str(tmp_path / file))).found_here("kafka")


def test_secrets_travel_as_references(kafka, password):
    """There and back through a topology's configuration, which has the file's name and not what is in it."""
    for brokers in (
        Brokers("b:1", "confluent", Tls(), Sasl("PLAIN", USER, password)),
        Brokers("b:1", tls=Tls(str(kafka.ca)), sasl=Sasl("PLAIN", "env:USER_HERE", password)),
    ):
        assert Brokers.of_conf(brokers.conf()) == brokers
        assert PASSWORD not in str(brokers.found_here("kafka").conf())


@pytest.mark.parametrize("client", CLIENTS)
def test_aborted_transactions_are_never_seen(kafka, topic, client):
    """Nor what is not committed yet; what was committed around them is, and the position passes the markers."""
    ensure_topic(Brokers(kafka.plain), topic, 1)
    producer = Producer({"bootstrap.servers": kafka.plain, "transactional.id": topic, "linger.ms": 0})
    producer.init_transactions(WAIT_S)
    for number, commit in enumerate([True, False, False, True, False]):
        producer.begin_transaction()
        for value in (b"%d first" % number, b"%d second" % number):
            producer.produce(topic, value, partition=0)
        producer.flush(WAIT_S)
        (producer.commit_transaction if commit else producer.abort_transaction)(WAIT_S)
    address = Address(topic, 0)
    reader = consumer(Brokers(kafka.plain, client), "g", max_batch=100, timestamps=False)
    try:
        reader.assign({address: 0})
        values = []
        while len(values) < 4 or reader.standing(address)[0] < 15:  # two records and a marker each
            for columns in reader.poll(50).get(address, []):
                values += columns.values
        assert values == [b"0 first", b"0 second", b"3 first", b"3 second"]
        producer.begin_transaction()
        producer.produce(topic, b"open", partition=0)
        producer.flush(WAIT_S)
        assert reader.ends([address]) == {address: 15}
        assert all(not reader.poll(50) for _ in range(10))
        producer.commit_transaction(WAIT_S)
        while len(values) < 5:
            for columns in reader.poll(50).get(address, []):
                values += columns.values
        assert values[4:] == [b"open"]
    finally:
        reader.close()
