"""Where Nimbus is and how it wants to be spoken to, read from an environment of config.json.

    "nimbus": "host[:port]"                       or several, with commas or as a list; STREAMPARSE_NIMBUS overrides it
    "use_ssh_for_nimbus": true                    through `ssh -L`, with "user" and "ssh_port"; as in streamparse the
                                                  default, but for a Nimbus on this machine
    "storm.thrift.transport": "...Digest..."      with "nimbus_user" and "nimbus_password"
    "nimbus.thrift.client.use.tls": true          with "nimbus.thrift.tls.client.{truststore,cert,key}.path" in PEM

Keys with dots are Storm's own, as in storm.yaml. Passwords stand as `env:NAME` or `file:PATH`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from stormline.cluster.ssh import Ssh
from stormline.core.errors import SettingsError

PORT: Final = 6627
OVERRIDE: Final = "STREAMPARSE_NIMBUS"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_TLS: Final = "nimbus.thrift.tls.client"
_JAVA_STORES: Final = (".jks", ".p12", ".pfx", ".pkcs12", ".jceks")


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Digest(NamedTuple):
    """SASL DIGEST-MD5, Storm's DigestSaslTransportPlugin."""

    user: str
    password: str


class Tls(NamedTuple):
    """TLS, Storm's TlsTransportPlugin. Paths of PEM files; without `authorities` those of this machine count."""

    authorities: Path | None
    certificate: Path | None
    key: Path | None


Security = Digest | Tls | None
"""None: Storm's SimpleTransportPlugin, anybody may do anything."""


class NimbusSettings(NamedTuple):
    environment: str
    seeds: tuple[Address, ...]
    """Asked in turn which of them leads."""
    security: Security = None
    ssh: Ssh | None = None
    """Every connection goes through a tunnel of its own."""


def read(name: str, env: Mapping[str, Any], root: Path, environ: Mapping[str, str]) -> NimbusSettings:
    """From the environment `name` as it is written. Raises SettingsError with every fault, before anything is sent."""
    faults: list[str] = []

    def fault(key: str, what: str) -> None:
        faults.append(f'"{key}" of environment "{name}" in config.json {what}')

    seeds = _seeds(env, environ, fault)
    security = _security(env, root, environ, fault)
    ssh = None
    if env.get("use_ssh_for_nimbus", any(seed.host not in _LOOPBACK for seed in seeds)):
        ssh = Ssh(env.get("user") or None, env.get("ssh_port") or None)
        if env.get("ssh_password"):
            fault("ssh_password", "cannot be given to ssh: use a key (ssh-copy-id), and remove this setting")
    if faults:
        raise SettingsError(*faults)
    return NimbusSettings(name, seeds, security, ssh)


def _seeds(env: Mapping[str, Any], environ: Mapping[str, str], fault: Any) -> tuple[Address, ...]:
    given = environ.get(OVERRIDE) or env.get("nimbus") or ()
    tls = env.get("nimbus.thrift.client.use.tls")
    default = env.get("nimbus.thrift.tls.port") if tls else PORT
    texts = given.split(",") if isinstance(given, str) else given
    if not texts:
        fault("nimbus", f'is not set: "host" or "host:port", several with commas ({OVERRIDE} does too)')
        return ()
    seeds = []
    for text in texts:
        seed = _address(text, default)
        if seed is None:
            source = f" (from {OVERRIDE})" if environ.get(OVERRIDE) else ""
            port = "; with TLS the port must be told" if tls and not default else ""
            fault("nimbus", f'must be "host" or "host:port", several with commas, got {text!r}{source}{port}')
        else:
            seeds.append(seed)
    return tuple(dict.fromkeys(seeds))


def _address(text: Any, default: Any) -> Address | None:
    host, port = str(text).strip(), str(default or "")
    if host.startswith("["):  # [::1]:6627
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or any(mark in host for mark in " /@") or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return Address(host, int(port))


def _security(env: Mapping[str, Any], root: Path, environ: Mapping[str, str], fault: Any) -> Security:
    plugin = str(env.get("storm.thrift.transport") or "SimpleTransportPlugin").rpartition(".")[2]
    tls = env.get("nimbus.thrift.client.use.tls")
    if plugin == "DigestSaslTransportPlugin":
        if tls:
            fault("storm.thrift.transport", 'cannot be digest where "nimbus.thrift.client.use.tls" is true: choose one')
        user = env.get("nimbus_user")
        if not isinstance(user, str) or not user:
            fault("nimbus_user", "is not set: the user name of digest authentication")
        return Digest(str(user), _secret(env, "nimbus_password", root, environ, fault))
    if plugin not in ("SimpleTransportPlugin", "TlsTransportPlugin"):
        fault(
            "storm.thrift.transport",
            f"is {plugin}, which is not supported: SimpleTransportPlugin, DigestSaslTransportPlugin and TLS are. "
            "Submit from a machine with Storm's own client, or give Nimbus one of these",
        )
        return None
    if not tls and plugin == "SimpleTransportPlugin":
        return None
    files = {}
    for part in ("truststore", "cert", "key"):
        key = f"{_TLS}.{part}.path"
        files[part] = path = root / str(env[key]) if env.get(key) else None
        if path is not None and path.suffix.lower() in _JAVA_STORES:
            fault(key, f"is a Java store: give its content in PEM (keytool -exportcert -rfc -keystore {path.name} ...)")
        elif path is not None and not path.is_file():
            fault(key, f"is {path}, which is no file")
    if (files["cert"] is None) != (files["key"] is None):
        fault(f"{_TLS}.cert.path", f'and "{_TLS}.key.path" belong together; one is missing')
    return Tls(files["truststore"], files["cert"], files["key"])


def _secret(env: Mapping[str, Any], key: str, root: Path, environ: Mapping[str, str], fault: Any) -> str:
    kind, _, place = str(env.get(key) or "").partition(":")
    if kind == "env" and place:
        if place not in environ:
            fault(key, f"is env:{place}, and {place} is not set")
        return environ.get(place, "")
    if kind == "file" and place:
        try:
            return (root / place).read_text().rstrip("\n")
        except OSError as error:
            fault(key, f"is file:{place}, which cannot be read: {error.strerror}")
            return ""
    fault(key, "must be env:NAME or file:PATH, the place of the password, not the password itself")
    return ""
