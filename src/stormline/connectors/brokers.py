"""How Kafka is reached: addresses, and through which client.

It travels in the configuration of a topology, so it is made of what JSON has.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from stormline.connectors.addresses import resolved
from stormline.core.errors import SettingsError

KAFKA_PYTHON: Final = "kafka-python"
CONFLUENT: Final = "confluent"
CONFLUENT_PACKAGE: Final = "confluent-kafka"
CLIENTS: Final = (KAFKA_PYTHON, CONFLUENT)


class Brokers(NamedTuple):
    """In config.json an object with these keys, or `bootstrap` alone."""

    bootstrap: str
    """`host:port`, several with commas between; or `env:NAME` or `file:PATH`, see `found_here`."""
    client: str = KAFKA_PYTHON
    """One of `CLIENTS`: what reads and writes records. Administration and feeds always take kafka-python."""

    def __str__(self) -> str:
        """For a message."""
        return self.bootstrap

    def conf(self) -> str | dict[str, Any]:
        """As it stands in config.json and in a topology's configuration."""
        said = {key: value for key, value in self._asdict().items() if value != self._field_defaults.get(key)}
        return self.bootstrap if said.keys() == {"bootstrap"} else said

    @classmethod
    def of_conf(cls, value: str | Mapping[str, Any]) -> Brokers:
        """What `conf` gave."""
        return cls(value) if isinstance(value, str) else cls(**value)

    def found_here(self, what: str) -> Brokers:
        """With the addresses themselves, if it has a reference to them. `what` it is, for messages.

        Raises SettingsError if something of it is not on this machine.
        """
        if self.client == CONFLUENT and find_spec("confluent_kafka") is None:
            raise SettingsError(
                f'{what} asks for the client "{CONFLUENT}", which is not installed here: '
                'pip install "stormline[fast]", or leave `client` out'
            )
        return self._replace(bootstrap=resolved(self.bootstrap, what))
