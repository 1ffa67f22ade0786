"""What of the cluster can be set: versions and ports, by the section "cluster" of config.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from stormline.core.errors import SettingsError


class Settings(NamedTuple):
    """Ports are of 127.0.0.1. A topology takes one of `worker_ports` for each of its workers."""

    storm_version: str = "2.8.3"
    kafka_version: str = "4.1.1"
    zookeeper_port: int = 2181
    nimbus_port: int = 6627
    supervisor_port: int = 6628
    worker_ports: tuple[int, ...] = (6700, 6701, 6702, 6703)
    kafka_port: int = 9092
    kafka_controller_port: int = 9093
    redis_port: int = 6379
    redis_server: str | None = None
    """A redis-server or valkey-server to use instead of the wheel's."""

    def ports(self) -> Iterator[tuple[str, int]]:
        """(key, port) of every port."""
        for key, value in self._asdict().items():
            if key.endswith("_port"):
                yield key, value
        for port in self.worker_ports:
            yield "worker_ports", port

    def check(self) -> None:
        """Raises SettingsError if two parts want the same port."""
        many = Counter(port for _, port in self.ports())
        faults = []
        for port in (port for port, times in many.items() if times > 1):
            keys = " and ".join(f'"{key}"' for key, value in self.ports() if value == port)
            faults.append(f"cluster in config.json gives port {port} twice: {keys}; give each its own")
        if faults:
            raise SettingsError(*faults)
