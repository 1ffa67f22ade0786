"""The five programs of the cluster: how each is started, and how it is asked whether it answers."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from stormline.cluster import nimbus
from stormline.cluster.daemon import Daemon
from stormline.cluster.layout import Layout
from stormline.core.errors import ServerError
from stormline.embedded import redis
from stormline.embedded.ports import HOST
from stormline.embedded.process import Readiness

_ASK_S: Final = 2.0
# Started often, busy never: one compiler and one collector thread less, and half the memory.
_SMALL: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")


class Part(NamedTuple):
    """`ports`: (key in config.json, port), the one to connect to first. `after`: the part that must answer before."""

    title: str
    daemon: Daemon
    ports: Sequence[tuple[str, int]]
    command: Sequence[str]
    answers: Callable[[], bool]
    after: str | None = None


def all_of(layout: Layout, java_home: Path) -> list[Part]:
    """In the order in which they are started; stopped in the opposite one."""
    return [
        _zookeeper(layout, java_home),
        _nimbus(layout, java_home),
        _supervisor(layout, java_home),
        _kafka(layout, java_home),
        _redis(layout),
    ]


def environment(java_home: Path) -> Mapping[str, str]:
    """Workers take `java` from JAVA_HOME, and components `streamparse_run` and python3 from PATH: this Python's."""
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "JAVA_HOME": str(java_home), "PATH": path}


def format_command(layout: Layout, java_home: Path) -> list[str]:
    """Writes Kafka's empty log with its id; once."""
    command = [str(java_home / "bin" / "java"), *_SMALL, f"-Dlog4j2.configurationFile={_kafka_log4j2(layout)}", "-cp"]
    command += [f"{layout.kafka_lib}/*", "kafka.tools.StorageTool", "format", "-t", layout.new_kafka_id()]
    return [*command, "-c", str(layout.directory / "kafka.properties"), "--standalone", "--ignore-formatted"]


def _zookeeper(layout: Layout, java_home: Path) -> Part:
    """ZooKeeper's own server, from Storm's jars: Storm's DevZookeeper wipes its data at each start."""
    port = layout.settings.zookeeper_port
    command = _storm_java(layout, java_home, "zookeeper", "-Xmx128m", "-Dzookeeper.admin.enableServer=false")
    command += ["org.apache.zookeeper.server.ZooKeeperServerMain", str(layout.directory / "zoo.cfg")]
    answers = lambda: b"Zookeeper version" in _ask(port, b"srvr")  # noqa: E731
    return Part("ZooKeeper", _daemon(layout, "zookeeper"), [("zookeeper_port", port)], command, answers)


def _nimbus(layout: Layout, java_home: Path) -> Part:
    port = layout.settings.nimbus_port
    command = _storm_java(layout, java_home, "nimbus", "-Xmx256m", "-Djava.deserialization.disabled=true")
    command.append("org.apache.storm.daemon.nimbus.Nimbus")

    def answers() -> bool:
        return _asked(port, lambda: nimbus.leads(HOST, port, int(_ASK_S * 1000)))

    return Part("Nimbus", _daemon(layout, "nimbus"), [("nimbus_port", port)], command, answers)


def _supervisor(layout: Layout, java_home: Path) -> Part:
    settings = layout.settings
    port = settings.supervisor_port
    command = _storm_java(layout, java_home, "supervisor", "-Xmx128m", "-Djava.deserialization.disabled=true")
    command.append("org.apache.storm.daemon.supervisor.Supervisor")

    def answers() -> bool:
        """It listens, and Nimbus gives it work."""
        return _listens(port) and _asked(settings.nimbus_port, has_supervisor)

    def has_supervisor() -> bool:
        with nimbus.connect(HOST, settings.nimbus_port, int(_ASK_S * 1000)) as client:
            return bool(client.getClusterInfo().supervisors)

    ports = [("supervisor_port", port), *(("worker_ports", each) for each in settings.worker_ports)]
    # A Supervisor that finds no Nimbus takes it that nothing is assigned to it, and kills the workers that live on.
    return Part("Supervisor", _daemon(layout, "supervisor"), ports, command, answers, after="Nimbus")


def _kafka(layout: Layout, java_home: Path) -> Part:
    settings = layout.settings
    command = [str(java_home / "bin" / "java"), "-Xms128m", "-Xmx256m", "-XX:+UseSerialGC"]
    command += ["-Djava.net.preferIPv4Stack=true", f"-Dlog4j2.configurationFile={_kafka_log4j2(layout)}"]
    command += ["-cp", f"{layout.kafka_lib}/*", "kafka.Kafka", str(layout.directory / "kafka.properties")]
    ports = [("kafka_port", settings.kafka_port), ("kafka_controller_port", settings.kafka_controller_port)]
    return Part("Kafka", _daemon(layout, "kafka"), ports, command, lambda: _kafka_answers(settings.kafka_port))


def _redis(layout: Layout) -> Part:
    port = layout.settings.redis_port
    command = [str(redis.server_path(layout.settings.redis_server)), "--port", str(port), "--dir", str(layout.redis)]
    for name, value in redis.SETTINGS.items():
        command += [f"--{name}", value]
    answers = lambda: redis.ask(port, layout.redis) is Readiness.READY  # noqa: E731
    return Part("Redis", _daemon(layout, "redis"), [("redis_port", port)], command, answers)


def _daemon(layout: Layout, name: str) -> Daemon:
    return Daemon(name, layout.run, layout.logs / f"{name}.log")


def _storm_java(layout: Layout, java_home: Path, name: str, *options: str) -> list[str]:
    """A daemon's command line as Storm's launcher builds it, kept to loopback."""
    home = layout.storm
    classes = [f"{home}/{folder}" for folder in ("*", "lib/*", "extlib/*", "extlib-daemon/*", "conf")]
    return [
        *(str(java_home / "bin" / "java"), "-server", f"-Ddaemon.name={name}", "-Dstorm.options="),
        *(f"-Dstorm.home={home}", f"-Dstorm.log.dir={layout.logs}", "-Dstorm.conf.file="),
        *("-cp", os.pathsep.join(classes), f"-javaagent:{layout.agent}", *_SMALL, *options),
        *(f"-Dlogfile.name={name}.log", f"-Dlog4j.configurationFile={home}/log4j2/cluster.xml"),
    ]


def _kafka_log4j2(layout: Layout) -> Path:
    return layout.directory / "kafka-log4j2.properties"


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=_ASK_S).close()
    except OSError:
        return False
    return True


def _ask(port: int, question: bytes) -> bytes:
    """The first of the answer, or nothing."""
    try:
        with socket.create_connection((HOST, port), timeout=_ASK_S) as connection:
            connection.sendall(question)
            return connection.recv(1024)
    except OSError:
        return b""


def _kafka_answers(port: int) -> bool:
    """An ApiVersions request (key 18, version 0), answered with error code 0."""
    body = struct.pack(">hhih", 18, 0, 7, -1)
    answer = _ask(port, struct.pack(">i", len(body)) + body)
    return len(answer) >= 10 and struct.unpack(">ih", answer[4:10]) == (7, 0)


def _asked(port: int, question: Callable[[], bool]) -> bool:
    """Nimbus's answer; while it starts it has none, or answers with an error."""
    from thriftpy2.thrift import TException

    if not _listens(port):
        return False
    try:
        return question()
    except (TException, ServerError):
        return False
