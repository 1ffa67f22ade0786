"""Apache Kafka with four listeners: open, with TLS, with SASL, with both; its certificate is made here."""

import datetime
import ipaddress
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from cluster.conftest import JARS, PASSWORD, free_settings, require_java_and_maven
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stormline.cluster import jars, needs, parts
from stormline.cluster.layout import Layout

USER = "ann"
WAIT_S = 180.0


class SecuredKafka:
    """Started when made; `plain`, `tls`, `sasl`, `both` are addresses by the number of this machine."""

    def __init__(self, directory: Path) -> None:
        require_java_and_maven()
        java_home = needs.require()
        settings = free_settings()
        jars.fetch(JARS, settings.storm_version, settings.kafka_version, java_home, print)
        layout = Layout(directory, JARS, settings)
        layout.write()
        self.ca = directory / "ca.pem"
        self.port = settings.kafka_port
        ports = dict(zip(("PLAIN", "TLS", "SASL", "BOTH"), (self.port, *settings.worker_ports), strict=False))
        self.plain, self.tls, self.sasl, self.both = (f"127.0.0.1:{port}" for port in ports.values())
        _certificate(self.ca, directory / "broker.pem")
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        plain_login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram_login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{settings.kafka_controller_port}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,"
            "BOTH:SASL_SSL",
            "inter.broker.listener.name": "PLAIN",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": directory / "broker.pem",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "auto.create.topics.enable": "false",
            "transaction.state.log.num.partitions": 1,
        }
        for name in ("sasl", "both"):
            lines[f"listener.name.{name}.plain.sasl.jaas.config"] = f'{plain_login} user_{USER}="{PASSWORD}";'
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                lines[f"listener.name.{name}.{mechanism}.sasl.jaas.config"] = scram_login
        with (directory / "kafka.properties").open("a") as properties:
            properties.writelines(f"{key}={value}\n" for key, value in lines.items())
        users = [f"{mechanism}=[name={USER},password={PASSWORD}]" for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
        command = parts.format_command(layout, java_home)
        command += [word for user in users for word in ("--add-scram", user)]
        subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)
        (part,) = (part for part in parts.all_of(layout, java_home) if part.title == "Kafka")
        self._log = layout.logs / "kafka.log"
        environment = os.environ | {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                part.command, stdout=output, stderr=subprocess.STDOUT, cwd=directory, env=environment
            )
        deadline = time.monotonic() + WAIT_S
        while not part.answers():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                raise AssertionError(self._log.read_text())
            assert time.monotonic() < deadline, self._log.read_text()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(WAIT_S)


def _certificate(ca_file: Path, broker_file: Path) -> None:
    """A CA, and a certificate of it for 127.0.0.1 and for no name."""
    now = datetime.datetime.now(datetime.UTC)

    def made(name, key, issuer, issuer_key, *extensions):
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(issued_by, critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signs = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    is_ca = x509.BasicConstraints(ca=True, path_length=None)
    ca_file.write_bytes(made("a CA of a test", ca_key, "a CA of a test", ca_key, (is_ca, True), (signs, True)))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = made("a broker", key, "a CA of a test", ca_key, (address, False))
    unencrypted = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    broker_file.write_bytes(private + certificate)
