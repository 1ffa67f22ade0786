"""The client of Nimbus: settings, the search for the leader, and what is said when it fails. No Java is needed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cluster.honest_nimbus import HonestNimbus
from streamparse import thrift as storm_thrift

from stormline.cluster.nimbus import connect_leader
from stormline.cluster.nimbus_digest import DigestClient
from stormline.cluster.nimbus_settings import Address, Digest, NimbusSettings, Tls, read
from stormline.cluster.ssh import Ssh
from stormline.core.errors import ServerError, SettingsError
from stormline.embedded.ports import HOST, free_port

DIGEST = "org.apache.storm.security.auth.digest.DigestSaslTransportPlugin"


def settings(env: Mapping[str, Any], root: Path = Path(), **environ: str) -> NimbusSettings:
    return read("prod", env, root, environ)


def seeds(*ports: int) -> NimbusSettings:
    return NimbusSettings("prod", tuple(Address(HOST, port) for port in ports))


def refused(what: NimbusSettings, timeout_ms: int = 2_000) -> str:
    """What is said when no leader can be had. A Nimbus in a thread of this process has time enough to answer."""
    with pytest.raises(ServerError) as caught, connect_leader(what, timeout_ms):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("nimbus", "expected"),
    [
        ("storm1", [("storm1", 6627)]),
        ("storm1:6000", [("storm1", 6000)]),
        ("storm1, storm2:6000,storm1", [("storm1", 6627), ("storm2", 6000)]),
        (["storm1", "storm2:6000"], [("storm1", 6627), ("storm2", 6000)]),
        ("[::1]:6000", [("::1", 6000)]),
        ("::1", [("::1", 6627)]),
    ],
)
def test_seeds_are_hosts_with_or_without_a_port(nimbus: Any, expected: list[Any]) -> None:
    """One, several with commas, or a list; the port is Storm's where none is said, and none is asked twice."""
    assert expected == list(settings({"nimbus": nimbus}).seeds)


@pytest.mark.parametrize("nimbus", ["", None, "storm1:", "storm1:0", "storm1:99999", "user@storm1", "a b", ["ok", ""]])
def test_a_seed_that_is_none_is_refused(nimbus: Any) -> None:
    """The message names the key, the environment and the form that is wanted."""
    with pytest.raises(SettingsError, match=r'"nimbus" of environment "prod" .*"host" or "host:port"'):
        settings({"nimbus": nimbus})


def test_the_variable_of_streamparse_overrides_the_seeds() -> None:
    """STREAMPARSE_NIMBUS wins over config.json, and a fault in it is told as its own."""
    assert (Address("other", 7000),) == settings({"nimbus": "storm1"}, STREAMPARSE_NIMBUS="other:7000").seeds
    with pytest.raises(SettingsError, match="from STREAMPARSE_NIMBUS"):
        settings({"nimbus": "storm1"}, STREAMPARSE_NIMBUS="other:x")


def test_ssh_is_the_default_as_in_streamparse_but_not_for_this_machine() -> None:
    """A Nimbus elsewhere is reached through a tunnel unless the environment says no."""
    assert Ssh("storm", 2222) == settings({"nimbus": "far", "user": "storm", "ssh_port": 2222}).ssh
    assert settings({"nimbus": "far", "use_ssh_for_nimbus": False}).ssh is None
    assert settings({"nimbus": "localhost:6627"}).ssh is None
    assert Ssh() == settings({"nimbus": "localhost", "use_ssh_for_nimbus": True, "user": ""}).ssh
    with pytest.raises(SettingsError, match=r"ssh_password.* use a key"):
        settings({"nimbus": "far", "ssh_password": "secret"})


def test_a_password_stands_elsewhere_and_is_found(tmp_path: Path) -> None:
    """By env:NAME or file:PATH, the latter relative to the project."""
    env = {"nimbus": "localhost", "storm.thrift.transport": DIGEST, "nimbus_user": "bob"}
    (tmp_path / "secret").write_text("from a file\n")
    by_file = settings({**env, "nimbus_password": "file:secret"}, tmp_path)
    assert Digest("bob", "from a file") == by_file.security
    by_variable = settings({**env, "nimbus_password": "env:PASSWORD"}, PASSWORD="from a variable")
    assert Digest("bob", "from a variable") == by_variable.security
    for wrong, what in (
        ("secret", "the place of the password, not the password itself"),
        ("env:NOT_THERE", "NOT_THERE is not set"),
        ("file:none", "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=f"nimbus_password.* {what}"):
            settings({**env, "nimbus_password": wrong}, tmp_path)


def test_all_faults_are_told_at_once_and_before_anything_is_sent(tmp_path: Path) -> None:
    """What is not supported, a Java store in the place of PEM, a certificate without its key, a missing user."""
    with pytest.raises(SettingsError) as caught:
        settings({"nimbus": "x:y", "storm.thrift.transport": DIGEST, "nimbus.thrift.client.use.tls": True})
    assert ["nimbus", "storm.thrift.transport", "nimbus_user", "nimbus_password"] == [
        fault.split('"')[1] for fault in caught.value.faults
    ]
    with pytest.raises(SettingsError, match="KerberosSaslTransportPlugin, which is not supported"):
        settings({"nimbus": "localhost", "storm.thrift.transport": "a.b.KerberosSaslTransportPlugin"})
    tls = {"nimbus": "localhost:1", "nimbus.thrift.client.use.tls": True}
    client = "nimbus.thrift.tls.client"
    for more, what in (
        ({f"{client}.truststore.path": "trust.jks"}, "is a Java store: give its content in PEM"),
        ({f"{client}.cert.path": "none.pem"}, "is no file"),
        ({f"{client}.key.path": __file__}, "belong together"),
    ):
        with pytest.raises(SettingsError, match=what):
            settings({**tls, **more}, tmp_path)
    with pytest.raises(SettingsError, match="with TLS the port must be told"):
        settings({**tls, "nimbus": "localhost"})


def test_the_digest_is_that_of_the_rfc() -> None:
    """RFC 2831, section 4: the client's response, and the server's proof, which must be right."""
    client = DigestClient("chris", "secret", client_nonce="OA6MHXh6VqTrRk", uri="imap/elwood.innosoft.com")
    assert (True, "DIGEST-MD5", b"") == client.start("DIGEST-MD5")
    challenge = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
    is_right, answer = client.step(challenge)
    assert is_right
    assert b"response=d388dad90d4bbd760a152321f2143af7" in answer
    assert (True, b"") == client.step(b"rspauth=ea40f60335c427b5527b84dbabcdfffd")
    assert not client.step(b"rspauth=00000000000000000000000000000000")[0]


def test_a_server_that_wants_more_than_authentication_is_refused() -> None:
    """Encryption by DIGEST-MD5 is no security today; only `auth` is spoken."""
    client = DigestClient("bob", "secret")
    assert not client.step(b'realm="x",nonce="y",qop="auth-conf",algorithm=md5-sess')[0]
    assert "auth-conf" in client.getError()


def test_seeds_are_asked_in_turn() -> None:
    """One that is not there does not matter if the next one leads."""
    with HonestNimbus().listening() as nimbus, connect_leader(seeds(free_port(), nimbus.port)) as client:
        assert 1 == len(client.getClusterInfo().nimbuses)


def test_the_leader_is_followed_to_where_it_is() -> None:
    """A seed that does not lead names another Nimbus, which is no seed; the calls go there."""
    seed, leader = HonestNimbus(), HonestNimbus()
    seed.leads, seed.elected = False, (HOST, leader.port)
    with seed.listening(), leader.listening(), connect_leader(seeds(seed.port)) as client:
        client.getClusterInfo()
    assert "getClusterInfo" in leader.calls
    assert "getClusterInfo" not in seed.calls


@pytest.mark.parametrize("is_secured", [False, True])
def test_a_leader_known_by_a_name_of_its_own_is_used_as_the_seed(is_secured: bool) -> None:
    """In a container Nimbus advertises a host that does not exist here: the seed that leads, or is alone, will do."""
    nimbus = HonestNimbus()
    nimbus.elected, nimbus.is_secured = ("nimbus.inside.invalid", 6627), is_secured
    with nimbus.listening(), connect_leader(seeds(nimbus.port)) as client:
        client.getClusterInfo()


@pytest.mark.parametrize("killed_elsewhere", [False, True])
def test_one_that_is_not_yet_the_leader_is_waited_for(killed_elsewhere: bool) -> None:
    """A killed Nimbus leads by ZooKeeper's word until its session ends: it, started again on its port, or another."""
    nimbus = HonestNimbus()
    nimbus.leads = False
    if killed_elsewhere:
        nimbus.elected = (HOST, free_port())

    def take_over() -> None:
        nimbus.leads, nimbus.elected = True, (HOST, nimbus.port)

    with nimbus.listening(), ExitStack() as stack:
        threading.Timer(0.5, take_over).start()
        stack.enter_context(connect_leader(seeds(nimbus.port), timeout_ms=20_000))
    assert nimbus.leads


def test_without_a_leader_it_says_so_when_the_time_is_over() -> None:
    """None elected; or one that, asked itself, knows that it is not."""
    nimbus = HonestNimbus()
    nimbus.elected = None
    with nimbus.listening():
        assert "no leader is elected yet" in refused(seeds(nimbus.port))
        nimbus.elected, nimbus.leads = (HOST, nimbus.port), False
        assert "does not lead yet" in refused(seeds(nimbus.port))


def test_a_leader_that_cannot_be_reached_is_named() -> None:
    """The seed is no leader, and the host it names does not exist here."""
    nimbus = HonestNimbus()
    nimbus.leads, nimbus.elected = False, ("nimbus.inside.invalid", 6627)
    with nimbus.listening():
        assert "is not the leader; that is to be nimbus.inside.invalid:6627, but" in refused(seeds(nimbus.port))


def test_nobody_there_is_told_of_each_seed() -> None:
    """Both are named, with what the machine says."""
    one, two = free_port(), free_port()
    told = refused(seeds(one, two))
    assert f"{HOST}:{one}: Connection refused" in told
    assert f"{HOST}:{two}: Connection refused" in told


def test_a_storm_before_2_is_refused_as_too_old() -> None:
    """It does not know the calls; what it is asked for does no harm."""

    class Old(storm_thrift.Nimbus):  # type: ignore[misc]
        thrift_services = [call for call in storm_thrift.Nimbus.thrift_services if call != "getLeader"]

    with HonestNimbus().listening(Old) as nimbus:
        assert "too old" in refused(seeds(nimbus.port))
    with HonestNimbus().listening(storm_thrift.Nimbus) as nimbus:
        assert "too old" in refused(seeds(nimbus.port))


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port where something else listens, and answers with `answer` whatever is said."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1)
            connection.sendall(answer)
            connection.recv(4096)

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "is no Nimbus: it answers with b'HTTP/1.1 400 "),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "expects TLS"),
        (b"\x04\x00\x00\x00\x10Invalid status 0", "expects SASL"),
        (b"", "does not answer as Nimbus"),
    ],
    ids=["http", "tls", "sasl", "silence"],
)
def test_something_else_on_the_port_is_recognised(answer: bytes, told: str) -> None:
    """By what it says first."""
    with answering(answer) as port:
        assert told in refused(seeds(port))


def test_a_nimbus_that_hangs_is_left_after_the_time_that_was_given() -> None:
    """It accepts and never answers."""
    with socket.create_server((HOST, 0)) as server:
        assert "is silent for 300 ms" in refused(seeds(server.getsockname()[1]), timeout_ms=300)


def test_a_refusal_of_nimbus_is_told_in_words() -> None:
    """An exception that a call declares reaches the user with its text, not as a Thrift object."""

    class Refusing(HonestNimbus):
        def killTopology(self, name: str) -> None:  # noqa: N802
            raise storm_thrift.NotAliveException(msg=f"{name} is not alive")

    with Refusing().listening() as nimbus:  # noqa: SIM117
        with pytest.raises(ServerError, match=r"Nimbus refuses \(NotAlive\): words is not alive"):
            with connect_leader(seeds(nimbus.port)) as client:
                client.killTopology("words")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nimbus.pem and client.pem with their keys, each its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("certificates")
    for name, host in (("nimbus", "localhost"), ("client", "bob")):
        key = ec.generate_private_key(ec.SECP256R1())
        called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(called)
            .issuer_name(called)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return folder


@pytest.fixture
def secure(certificates: Path) -> Iterator[HonestNimbus]:
    """It wants a certificate of the client's, as Storm does by default."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "client.pem")
    context.load_cert_chain(certificates / "nimbus.pem", certificates / "nimbus.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with HonestNimbus(context=context).listening() as nimbus:
        nimbus.elected = ("localhost", nimbus.port)
        yield nimbus


def test_calls_go_through_tls_with_certificates_on_both_sides(secure: HonestNimbus, certificates: Path) -> None:
    """As config.json says it, with Storm's own keys."""
    client = "nimbus.thrift.tls.client"
    env = {"nimbus": "localhost", "nimbus.thrift.client.use.tls": True, "nimbus.thrift.tls.port": secure.port}
    env |= {f"{client}.truststore.path": "nimbus.pem", f"{client}.cert.path": "client.pem"}
    env |= {f"{client}.key.path": "client.key"}
    with connect_leader(settings(env, certificates)) as connected:
        assert 1 == len(connected.getClusterInfo().nimbuses)


def test_tls_fails_with_the_reason(secure: HonestNimbus, certificates: Path) -> None:
    """An unknown authority, another host's certificate, none of ours, no TLS on one side or the other."""
    own = (certificates / "client.pem", certificates / "client.key")
    known = Tls(certificates / "nimbus.pem", *own)

    def told(host: str, security: Tls | None, port: int = secure.port) -> str:
        return refused(NimbusSettings("prod", (Address(host, port),), security))

    assert "certificate that does not count for localhost" in told("localhost", Tls(None, *own))
    assert f"certificate that does not count for {HOST}" in told(HOST, known)
    assert "may want a certificate of ours" in told("localhost", Tls(certificates / "nimbus.pem", None, None))
    assert "TLS" in told("localhost", None)
    with HonestNimbus().listening() as plain:
        assert "does not speak TLS" in told("localhost", known, plain.port)


def test_the_environment_is_read_from_config_json(tmp_path: Path) -> None:
    """The keys pass the check of the file, and a flag that is none is a fault there."""
    from stormline.cli import config

    env = {"nimbus": ["a", "b:1"], "use_ssh_for_nimbus": False, "nimbus.thrift.client.use.tls": True}
    (tmp_path / "config.json").write_text(json.dumps({"envs": {"prod": env}}))
    assert env == config.load(tmp_path).environment("prod").stock
    (tmp_path / "config.json").write_text(json.dumps({"envs": {"prod": {"use_ssh_for_nimbus": "false"}}}))
    with pytest.raises(SettingsError, match="use_ssh_for_nimbus must be true or false"):
        config.load(tmp_path)
