"""Digest authentication against Storm's own: a second Nimbus beside the cluster's, on the same ZooKeeper."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.conftest import JARS
from cluster.on_cluster import Verbs, until

from stormline.cluster import needs
from stormline.cluster.cluster import Cluster
from stormline.cluster.jars import AGENT
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST, free_port

pytestmark = pytest.mark.timeout(600)
PLUGIN = "org.apache.storm.security.auth.digest.DigestSaslTransportPlugin"
JAAS = """
StormServer {
  org.apache.storm.security.auth.digest.DigestLoginModule required
  user_bob="a \\"quoted\\" secret" user_alice="other";
};
"""


@pytest.fixture(scope="module")
def secured(started: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Nimbus that knows bob and alice."""
    started.up()
    home, folder, port = started.storm_home, tmp_path_factory.mktemp("secured"), free_port()
    own = {
        "nimbus.thrift.port": port,
        "storm.local.dir": folder / "data",
        "storm.log.dir": folder,
        "storm.metricstore.rocksdb.location": folder / "metrics",
        "storm.zookeeper.root": "/secured",
        "storm.thrift.transport": PLUGIN,
        "java.security.auth.login.config": folder / "jaas.conf",
    }
    lines = (home / "conf" / "storm.yaml").read_text().splitlines()
    lines = [line for line in lines if line.partition(":")[0] not in own] + [f"{key}: {own[key]}" for key in own]
    (folder / "conf").mkdir()
    (folder / "conf" / "storm.yaml").write_text("\n".join(lines) + "\n")
    (folder / "jaas.conf").write_text(JAAS)
    classes = f"{home}/lib/*:{folder / 'conf'}"
    command = [str(needs.require() / "bin" / "java"), f"-Dstorm.home={home}", f"-Dstorm.log.dir={folder}", "-Xmx256m"]
    command += ["-Djava.net.preferIPv4Stack=true", f"-Dlog4j.configurationFile={home}/log4j2/cluster.xml"]
    command += ["-Dlogfile.name=nimbus.log", f"-javaagent:{JARS / AGENT}", "-cp", classes]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [*command, "org.apache.storm.daemon.nimbus.Nimbus"], cwd=folder, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "out").read_text()
        yield port
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    """Not by trying to have the port, which would be in the way of who wants it."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def environment(port: int, user: str, transport: str = PLUGIN) -> dict[str, str]:
    known = {"nimbus": f"localhost:{port}", "storm.thrift.transport": transport}
    return {**known, "nimbus_user": user, "nimbus_password": "file:password"}


def test_a_user_with_the_right_password_is_let_in(secured: int, settings: Settings, tmp_path: Path) -> None:
    """Calls go through, by whichever name the host is called."""
    (tmp_path / "password").write_text('a "quoted" secret\n')
    for host in ("localhost", "127.0.0.1"):
        verbs = Verbs(tmp_path, settings, **{**environment(secured, "bob"), "nimbus": f"{host}:{secured}"})
        assert [] == verbs.json("list", "--timeout", "60000")


@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_a_wrong_password_or_user_is_refused(secured: int, settings: Settings, tmp_path: Path, user: str) -> None:
    """With words that name both, and not the password."""
    (tmp_path / "password").write_text("wrong-one")
    refused = Verbs(tmp_path, settings, **environment(secured, user)).call("list")
    assert 1 == refused.exit_code
    assert "refuses the user or the password" in refused.output
    assert "wrong-one" not in refused.output


def test_who_does_not_authenticate_is_told_that_it_is_wanted(secured: int, settings: Settings, tmp_path: Path) -> None:
    """And one that does is told by a plain Nimbus that it is not."""
    plain = Verbs(tmp_path, settings, nimbus=f"localhost:{secured}").call("list")
    assert 1 == plain.exit_code
    assert "may expect TLS or SASL" in plain.output
    (tmp_path / "password").write_text("secret")
    digest = Verbs(tmp_path, settings, **environment(settings.nimbus_port, "bob")).call("list")
    assert 1 == digest.exit_code
    assert "it may not expect SASL digest" in digest.output
