"""How Kafka is reached: addresses, client, TLS and SASL.

It travels in the configuration of a topology, so it is made of what JSON has, and secrets are in it only as references.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from stormline.connectors.addresses import resolved
from stormline.core.errors import SettingsError

KAFKA_PYTHON: Final = "kafka-python"
CONFLUENT: Final = "confluent"
CONFLUENT_PACKAGE: Final = "confluent-kafka"
CLIENTS: Final = (KAFKA_PYTHON, CONFLUENT)
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Tls(NamedTuple):
    """The broker's certificate is checked, and that it is for the host of the address."""

    ca: str | None = None
    """A file in PEM with the certificates to trust, on each machine; None: those of the system."""

    def context(self) -> ssl.SSLContext:
        """Raises OSError (also ssl.SSLError) for a file that is not there, or something else."""
        return ssl.create_default_context(cafile=self.ca)


class Sasl(NamedTuple):
    """Who one is."""

    mechanism: str
    """One of `MECHANISMS`."""
    user: str
    password: str
    """Both may be `env:NAME` or `file:PATH`; the password always is, in config.json."""

    def credentials(self, what: str = "Kafka") -> tuple[str, str]:
        """User and password themselves. Raises SettingsError if a reference leads nowhere on this machine."""
        return resolved(self.user, f"{what}: the SASL user"), resolved(self.password, f"{what}: the SASL password")


class Brokers(NamedTuple):
    """In config.json an object with these keys, or `bootstrap` alone."""

    bootstrap: str
    """`host:port`, several with commas between; or `env:NAME` or `file:PATH`, see `found_here`."""
    client: str = KAFKA_PYTHON
    """One of `CLIENTS`: what reads and writes records. Administration and feeds always take kafka-python."""
    tls: Tls | None = None
    sasl: Sasl | None = None

    def __str__(self) -> str:
        """For a message."""
        return self.bootstrap

    @property
    def addresses(self) -> list[str]:
        return [address.strip() for address in self.bootstrap.split(",")]

    @property
    def protocol(self) -> str:
        """As Kafka calls what a listener speaks."""
        return ("SASL_" if self.sasl else "") + ("SSL" if self.tls else "PLAINTEXT")

    def conf(self) -> str | dict[str, Any]:
        """As it stands in config.json and in a topology's configuration."""
        said: dict[str, Any] = {"bootstrap": self.bootstrap}
        if self.client != KAFKA_PYTHON:
            said["client"] = self.client
        if self.tls is not None:
            said["tls"] = self.tls._asdict() if self.tls.ca else True
        if self.sasl is not None:
            said["sasl"] = self.sasl._asdict()
        return self.bootstrap if len(said) == 1 else said

    @classmethod
    def of_conf(cls, value: str | Mapping[str, Any]) -> Brokers:
        """What `conf` gave."""
        if isinstance(value, str):
            return cls(value)
        tls, sasl = value.get("tls", False), value.get("sasl")
        return cls(
            value["bootstrap"],
            value.get("client", KAFKA_PYTHON),
            None if tls is False else Tls() if tls is True else Tls(**tls),
            None if sasl is None else Sasl(**sasl),
        )

    def found_here(self, what: str) -> Brokers:
        """With the addresses themselves, if it has a reference to them; the secrets stay references. `what` it is, for
        messages.

        Raises SettingsError if something of it is not on this machine.
        """
        if self.client == CONFLUENT and find_spec("confluent_kafka") is None:
            raise SettingsError(
                f'{what} asks for the client "{CONFLUENT}", which is not installed here: '
                f"{sys.executable} -m pip install {CONFLUENT_PACKAGE}, or leave `client` out"
            )
        if self.tls is not None:
            try:
                self.tls.context()
            except OSError as error:
                raise SettingsError(
                    f"{what}: {self.tls.ca}, which is to say whom to trust (tls, ca), is no file with certificates in "
                    f"PEM on this machine: {error}"
                ) from error
        if self.sasl is not None:
            self.sasl.credentials(what)
        return self._replace(bootstrap=resolved(self.bootstrap, what))
