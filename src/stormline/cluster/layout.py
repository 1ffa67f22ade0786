"""Where everything of a cluster lies, and the files that its programs read.

DIR/storm/{lib,lib-worker -> jars}  conf/storm.yaml  log4j2/  data/     STORM_HOME; data: Nimbus's and Supervisor's
DIR/zookeeper  DIR/kafka  DIR/redis   data      DIR/run/PART   pids
DIR/logs/PART.log   DIR/logs/workers-artifacts/TOPOLOGY-ID/PORT/worker.log    the latter: what components say
"""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from stormline.cluster.jars import AGENT
from stormline.cluster.settings import Settings
from stormline.core.errors import SettingsError
from stormline.embedded.ports import HOST

_LOG4J2 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration monitorInterval="60" shutdownHook="disable">
  <Appenders>
    <RollingFile name="A" fileName="{file}" filePattern="{file}.%i">
      <PatternLayout pattern="{pattern}"/>
      <Policies><SizeBasedTriggeringPolicy size="20 MB"/></Policies>
      <DefaultRolloverStrategy max="4"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    {loggers}<Root level="info"><AppenderRef ref="A"/></Root>
  </Loggers>
</Configuration>
"""
_PATTERN = "%d{yyyy-MM-dd HH:mm:ss.SSS} %c{1.} %t [%p] %msg%n"
_STREAMS = """\
<Logger name="STDERR" level="info"/>
    <Logger name="STDOUT" level="info"/>
    """
_KAFKA_LOG4J2 = """\
status = warn
appender.a.type = Console
appender.a.name = A
appender.a.layout.type = PatternLayout
appender.a.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.a.ref = A
logger.server.name = kafka.server
logger.server.level = info
"""


class Layout:
    """Paths below `directory`, which may not have a space in it; `jars` may be shared by several clusters."""

    def __init__(self, directory: Path, jars: Path, settings: Settings) -> None:
        self.directory = directory.resolve()
        self.jars = jars.resolve()
        self.settings = settings
        self.storm = self.directory / "storm"
        self.logs = self.directory / "logs"
        self.run = self.directory / "run"
        self.zookeeper = self.directory / "zookeeper"
        self.kafka = self.directory / "kafka"
        self.redis = self.directory / "redis"
        self.agent = self.jars / AGENT
        self.kafka_lib = self.jars / f"kafka-{settings.kafka_version}" / "lib"

    def worker_log(self, topology_id: str, port: int) -> Path:
        return self.logs / "workers-artifacts" / topology_id / str(port) / "worker.log"

    def write(self) -> None:
        """Make the folders and write the files anew, from the settings. Raises SettingsError, OSError."""
        for path in (self.directory, self.jars):
            if any(mark in str(path) for mark in " \t,"):
                raise SettingsError(
                    f'the cluster cannot live in "{path}": Storm splits the options of its workers at spaces and '
                    "Kafka its folders at commas. Move the project to a path without them"
                )
        home = self.storm
        for folder in ("conf", "log4j2", "extlib", "extlib-daemon", "public", "bin", "data"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        for path in (self.logs, self.run, self.zookeeper, self.kafka, self.redis):
            path.mkdir(exist_ok=True)
        for folder in ("lib", "lib-worker"):
            link = home / folder
            link.unlink(missing_ok=True)
            link.symlink_to(self.jars / f"storm-{self.settings.storm_version}" / folder)
        (home / "conf" / "storm.yaml").write_text(self._storm_yaml())
        # Files are named by the -D options which Storm's own launcher and Supervisor give.
        daemons = _LOG4J2.format(file="${sys:storm.log.dir}/${sys:logfile.name}", pattern=_PATTERN, loggers="")
        (home / "log4j2" / "cluster.xml").write_text(daemons)
        worker = "${sys:workers.artifacts}/${sys:storm.id}/${sys:worker.port}/${sys:logfile.name}"
        text = _LOG4J2.format(file=worker, pattern=_PATTERN, loggers=_STREAMS)
        (home / "log4j2" / "worker.xml").write_text(text)
        (self.directory / "zoo.cfg").write_text(self._zoo_cfg())
        (self.directory / "kafka.properties").write_text(self._kafka_properties())
        (self.directory / "kafka-log4j2.properties").write_text(_KAFKA_LOG4J2)

    @property
    def kafka_is_formatted(self) -> bool:
        return (self.kafka / "meta.properties").exists()

    @staticmethod
    def new_kafka_id() -> str:
        """As Kafka makes them: 16 random bytes, URL-safe base64; no leading "-", which looks like an option."""
        while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
            pass
        return name

    def _storm_yaml(self) -> str:
        settings = self.settings
        lines = {
            "storm.zookeeper.servers": f'["{HOST}"]',
            "storm.zookeeper.port": settings.zookeeper_port,
            # 20,000 by default: so long a killed Nimbus leads, and the one started in its place may do nothing.
            "storm.zookeeper.session.timeout": 6000,
            "nimbus.seeds": '["localhost"]',
            "nimbus.thrift.port": settings.nimbus_port,
            "supervisor.thrift.port": settings.supervisor_port,
            "supervisor.slots.ports": list(settings.worker_ports),
            # The daemons call each other by this name; a look-up of the machine's own may fail or lead outside.
            "storm.local.hostname": '"localhost"',
            "storm.local.dir": f'"{self.storm / "data"}"',
            "storm.log.dir": f'"{self.logs}"',
            "storm.metricstore.rocksdb.location": f'"{self.storm / "data" / "metrics"}"',
            # Seconds between looks at what there is to do; the defaults of 3 and 10 make a submit or a kill slow.
            "nimbus.monitor.freq.secs": 1,
            "supervisor.monitor.frequency.secs": 1,
            "task.refresh.poll.secs": 1,
            # 3 s by default, for each start of a worker in the place of a dead one too.
            "supervisor.worker.shutdown.sleep.secs": 1,
            # 30 by default: what a worker that died held would stand still for 48 s.
            "topology.message.timeout.secs": 10,
            # 0.05 by default: counters go in steps of 20.
            "topology.stats.sample.rate": 1.0,
            # 60 by default: counters stand still for a minute.
            "executor.metrics.frequency.secs": 1,
            "worker.childopts": f'"-Xmx%HEAP-MEM%m -Djava.net.preferIPv4Stack=true -javaagent:{self.agent}"',
            "topology.worker.logwriter.childopts": '"-Xmx32m -XX:+UseSerialGC"',
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items())

    def _zoo_cfg(self) -> str:
        lines = {
            "dataDir": self.zookeeper,
            "clientPort": self.settings.zookeeper_port,
            "clientPortAddress": HOST,
            "tickTime": 2000,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr",
            "maxClientCnxns": 0,
            "autopurge.purgeInterval": 1,
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def _kafka_properties(self) -> str:
        settings = self.settings
        broker, controller = f"{HOST}:{settings.kafka_port}", f"{HOST}:{settings.kafka_controller_port}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": self.kafka,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # 9,000 and 2,000 by default: so long a killed broker counts as alive, and its successor may not register.
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 1000,
            # A week by default, by the records' own timestamps: historic ones would be deleted within minutes.
            "log.retention.ms": -1,
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())
