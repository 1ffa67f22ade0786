"""config.json: where the servers are, what is fed, and streamparse's own settings. All faults are told at once.

The file is streamparse's (its keys are accepted); `main`, `kafka`, `redis` and what belongs to them are ours.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stormline.connectors.brokers import CLIENTS, MECHANISMS, Brokers
from stormline.core.errors import SettingsError

FILE = "config.json"
EMBEDDED = "embedded"


class Environment(NamedTuple):
    """One entry of `envs`; None where it says nothing."""

    name: str
    kafka: Brokers | None
    """`bootstrap` may be "embedded"."""
    redis: str | None
    """"embedded", or a URL"""
    feed: Mapping[str, Mapping[str, Any]]
    """Topic -> settings of its feed, as written; their contents are checked by `stormline.connectors.feed`."""
    topics: Mapping[str, int]
    """Topics that are created at the start of a topology that reads or writes them -> how many partitions each has."""
    durability: str
    """"fsync": refuse a Redis that confirms what it may still lose; "memory": live with it."""
    kafka_port: int
    redis_port: int
    redis_server: str | None
    options: Mapping[str, Any]
    """Storm's settings for every topology in this environment; a topology's own win over them."""
    stock: Mapping[str, Any]
    """All keys as they are written: those of streamparse (`nimbus`, `workers`, ...) are read where they are used."""

    @property
    def has_embedded_kafka(self) -> bool:
        return self.kafka is not None and self.kafka.bootstrap == EMBEDDED


class Project(NamedTuple):
    """A directory with a config.json."""

    root: Path
    topologies: Path
    virtualenvs: Path
    """Where NAME.txt holds what the workers of a topology need, as pip reads it."""
    main: str | None
    """The topology that is meant where none is named; None if the file does not say."""
    environments: Mapping[str, Environment]
    cluster: Mapping[str, Any]
    """What `stormline.cluster.settings.Settings` is made of, where the file says something."""

    @property
    def state(self) -> Path:
        """Where the embedded servers and the cluster keep their data."""
        return self.root / ".stormline"

    @property
    def logs(self) -> Path:
        """Where runs write their logs, each app in a folder of its own."""
        return self.root / "logs"

    def environment(self, name: str | None) -> Environment:
        """None: the embedded one, or (as streamparse does) the only one. Raises SettingsError if there is none of this
        name."""
        if name is None:
            if EMBEDDED not in self.environments and len(self.environments) > 1:
                raise SettingsError(
                    f"config.json has several environments; say which with -e: {', '.join(self.environments)}"
                )
            name = EMBEDDED if len(self.environments) != 1 else next(iter(self.environments))
        if name not in self.environments:
            raise SettingsError(
                f'config.json has no environment "{name}"{did_you_mean(name, self.environments)}; '
                f"it has {', '.join(self.environments) or 'none'} (under envs)"
            )
        return self.environments[name]


def find_project(start: Path) -> Project:
    """The project of this directory, or of the nearest one above it. Raises SettingsError."""
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return load(directory)
    raise SettingsError(f"no config.json in {start} or above it; run sparse inside a project")


def load(root: Path) -> Project:
    """Raises SettingsError with every fault of the file: where, what came, what to do."""
    path = root / FILE
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}, line {error.lineno}, column {error.colno}: broken JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    faults = _Faults(path, text)
    _check(content, _TOP_LEVEL, "", faults)
    envs = content.get("envs", {}) if isinstance(content, dict) else {}
    environments = {
        name: _environment(name, env, faults)
        for name, env in (envs if isinstance(envs, dict) else {}).items()
        if isinstance(env, dict)
    }
    cluster = content.get("cluster", {}) if isinstance(content, dict) else {}
    if isinstance(cluster, dict):
        _check(cluster, _CLUSTER, "cluster", faults)
    if faults:
        raise SettingsError(*faults)
    specs = content.get("topology_specs", "topologies/")
    virtualenvs = root / content.get("virtualenv_specs", "virtualenvs/")
    return Project(root, root / specs, virtualenvs, content.get("main"), environments, cluster)


def did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    """`; did you mean "kafka"?`, or nothing if no known name is like it."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


class _Faults(list[str]):
    def __init__(self, path: Path, text: str) -> None:
        super().__init__()
        self._path = path
        self._text = text

    def add(self, where: str, what: str) -> None:
        """`where`: the keys down to the fault, with dots; the line is told if the last of them stands only once."""
        places = list(re.finditer(re.escape(json.dumps(where.rsplit(".", 1)[-1])) + r"\s*:", self._text))
        line = f", line {self._text.count(chr(10), 0, places[0].start()) + 1}" if len(places) == 1 else ""
        self.append(f"{self._path}{line}: {where or 'the file'} {what}")


class _Repeated(dict[str, Any]):
    """A JSON object in which a key stood twice: the second would silently win."""

    repeated: str


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    marked = _Repeated(result)
    marked.repeated = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
    return marked


def _check(value: Any, known: Mapping[str, _Kind], where: str, faults: _Faults) -> None:
    """Each key is known and its value of the right kind."""
    if not isinstance(value, dict):
        faults.add(where, f"must be an object, got {_shown(value)}")
        return
    if isinstance(value, _Repeated):
        faults.add(where, f'has "{value.repeated}" twice')
    for key, item in value.items():
        at = f"{where}.{key}" if where else key
        if key not in known:
            faults.add(at, f"is an unknown key{did_you_mean(key, known)}")
        elif (wanted := known[key](item)) is not None:
            faults.add(at, f"must be {wanted}" + ("" if key in _SECRET else f", got {_shown(item)}"))


def _environment(name: str, env: dict[str, Any], faults: _Faults) -> Environment:
    where = f"envs.{name}"
    _check(env, _ENVIRONMENT, where, faults)
    kafka = env.get("kafka")
    if isinstance(kafka, dict):
        _check(kafka, _KAFKA, f"{where}.kafka", faults)
        _kafka_parts(kafka, f"{where}.kafka", faults)
    brokers = None if kafka is None or faults else Brokers.of_conf(kafka)
    servers = {"kafka": kafka.get("bootstrap") if isinstance(kafka, dict) else kafka, "redis": env.get("redis")}
    for server, belongings in (("kafka", ["kafka_port"]), ("redis", ["redis_port", "redis_server"])):
        for key in belongings:
            if key in env and servers[server] != EMBEDDED:
                faults.add(f"{where}.{key}", f'only has a meaning where "{server}" is "{EMBEDDED}"')
    if env.get("durability") == "memory" and env.get("redis") == EMBEDDED:
        faults.add(
            f"{where}.durability", "only has a meaning for a Redis that is not the embedded one, which is durable"
        )
    feed = env.get("feed", {})
    if isinstance(feed, dict):
        for topic, settings in feed.items():
            if not isinstance(settings, dict):
                faults.add(f"{where}.feed.{topic}", f"must be an object, got {_shown(settings)}")
    given = env.get("topics", {})
    named = given if isinstance(given, dict) else {}
    topics = {topic: _partitions(settings, f"{where}.topics.{topic}", faults) for topic, settings in named.items()}
    return Environment(
        name=name,
        kafka=brokers,
        redis=env.get("redis"),
        feed=feed,
        topics=topics,
        durability=env.get("durability", "fsync"),
        kafka_port=env.get("kafka_port", 0),
        redis_port=env.get("redis_port", 0),
        redis_server=env.get("redis_server"),
        options=env.get("options") or {},
        stock=env,
    )


def _kafka_parts(kafka: dict[str, Any], where: str, faults: _Faults) -> None:
    if "bootstrap" not in kafka:
        faults.add(where, 'needs "bootstrap": "host:port,host:port"')
    for key, known in (("tls", _TLS), ("sasl", _SASL)):
        if isinstance(kafka.get(key), dict):
            _check(kafka[key], known, f"{where}.{key}", faults)
        if key in kafka and kafka.get("bootstrap") == EMBEDDED:
            faults.add(f"{where}.{key}", f'only has a meaning where "bootstrap" is not "{EMBEDDED}"')
    sasl = kafka.get("sasl")
    if isinstance(sasl, dict) and (missing := [key for key in _SASL if key not in sasl]):
        faults.add(f"{where}.sasl", f"needs {' and '.join(missing)}, too")


def _partitions(settings: Any, where: str, faults: _Faults) -> int:
    if not isinstance(settings, dict) or settings.keys() - {"partitions"}:
        faults.add(where, f'must be as {{"partitions": 1}}, got {_shown(settings)}')
        return 1
    number = settings.get("partitions", 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        faults.add(f"{where}.partitions", f"must be a whole number above 0, got {_shown(number)}")
        return 1
    return number


_REFERENCE = r"env:\w+|file:.+"
_BY_REFERENCE = '"env:NAME" or "file:PATH", where each machine finds it'
_Kind = Callable[[Any], str | None]
"""None if the value will do, else what it must be."""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "text"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "an object"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _hosts(value: Any) -> str | None:
    right = value is None or (isinstance(value, list) and all(isinstance(host, str) for host in value))
    return None if right else "a list of host names"


def _port(value: Any) -> str | None:
    right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535
    return None if right else "a port, 0 (any free one) to 65535"


def _fixed_port(value: Any) -> str | None:
    return None if value != 0 and _port(value) is None else "a port, 1 to 65535"


def _worker_ports(value: Any) -> str | None:
    right = isinstance(value, list) and value and all(_fixed_port(port) is None for port in value)
    return None if right else "a list of ports, one for each worker that may run"


def _version(value: Any) -> str | None:
    right = isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)+[\w.-]*", value)
    return None if right else 'a version such as "2.8.3"'


def _python_version(value: Any) -> str | None:
    right = isinstance(value, str) and re.fullmatch(r"3\.\d+", value) and int(value[2:]) >= 11
    return None if right else 'the workers\' Python as "3.11", which is also the oldest that will do'


def _kafka(value: Any) -> str | None:
    return None if isinstance(value, dict) else _brokers(value)


def _tls(value: Any) -> str | None:
    return None if value is True or isinstance(value, dict) else 'true, or {"ca": "a file in PEM"}'


def _mechanism(value: Any) -> str | None:
    return None if value in MECHANISMS else " or ".join(MECHANISMS)


def _secret(value: Any) -> str | None:
    return (
        None
        if isinstance(value, str) and re.fullmatch(_REFERENCE, value)
        else f"{_BY_REFERENCE}, not the secret itself"
    )


def _client(value: Any) -> str | None:
    return None if value in CLIENTS else " or ".join(f'"{client}"' for client in CLIENTS)


def _brokers(value: Any) -> str | None:
    broker = r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}"
    known = rf"{EMBEDDED}|{_REFERENCE}|{broker}(,\s*{broker})*"
    right = isinstance(value, str) and re.fullmatch(known, value)
    return None if right else f'"embedded", or brokers as "host:port,host:port", or {_BY_REFERENCE}'


def _redis_url(value: Any) -> str | None:
    right = isinstance(value, str) and re.fullmatch(rf"{EMBEDDED}|{_REFERENCE}|(rediss?|unix)://.*", value)
    urls = 'a URL as "redis://host:6379/0" (rediss:// for TLS, unix:// for a socket)'
    return None if right else f'"embedded", or {urls}, or {_BY_REFERENCE}'


def _durability(value: Any) -> str | None:
    return None if value in ("fsync", "memory") else '"fsync" or "memory"'


def _anything(value: Any) -> str | None:
    return None


_TOP_LEVEL: Mapping[str, _Kind] = {
    "serializer": _text,
    "topology_specs": _text,
    "virtualenv_specs": _text,
    "main": _text,
    "envs": _object,
    "cluster": _object,
}
_CLUSTER: Mapping[str, _Kind] = {
    "storm_version": _version,
    "kafka_version": _version,
    "zookeeper_port": _fixed_port,
    "nimbus_port": _fixed_port,
    "supervisor_port": _fixed_port,
    "worker_ports": _worker_ports,
    "kafka_port": _fixed_port,
    "kafka_controller_port": _fixed_port,
    "redis_port": _fixed_port,
    "redis_server": _text,
}
_KAFKA: Mapping[str, _Kind] = {"bootstrap": _brokers, "client": _client, "tls": _tls, "sasl": _object}
_TLS: Mapping[str, _Kind] = {"ca": _text}
_SASL: Mapping[str, _Kind] = {"mechanism": _mechanism, "user": _text, "password": _secret}
_SECRET = ("password",)
"""What is wrong there is not repeated: it may be the secret itself."""
_OF_STREAMPARSE = (
    ("nimbus", "use_ssh_for_nimbus", "ssh_port", "ssh_password", "user", "sudo_user", "workers", "options", "ui.port")
    + ("use_virtualenv", "install_virtualenv", "virtualenv_root", "virtualenv_path", "virtualenv_name")
    + ("virtualenv_flags", "log", "log_path", "log_file", "serializer")
)
"""The keys that streamparse 5 reads from an environment; their values are its business."""
_ENVIRONMENT: Mapping[str, _Kind] = {
    "kafka": _kafka,
    "redis": _redis_url,
    "feed": _object,
    "topics": _object,
    "durability": _durability,
    "kafka_port": _port,
    "redis_port": _port,
    "redis_server": _text,
    **dict.fromkeys(_OF_STREAMPARSE, _anything),
    "use_ssh_for_nimbus": _flag,
    "workers": _hosts,
    "storm.thrift.transport": _text,
    "nimbus_user": _text,
    "nimbus_password": _text,
    "nimbus.thrift.client.use.tls": _flag,
    "nimbus.thrift.tls.port": _fixed_port,
    "nimbus.thrift.tls.client.truststore.path": _text,
    "nimbus.thrift.tls.client.cert.path": _text,
    "nimbus.thrift.tls.client.key.path": _text,
    "logviewer.port": _fixed_port,
    "python": _text,
    "python_version": _python_version,
    "python_platform": _text,
}


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
