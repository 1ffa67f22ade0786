"""The Kafka and the Redis of an environment: embedded ones are started and stopped here, others are probed first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from stormline.cli.config import EMBEDDED, FILE, Environment, Project
from stormline.connectors.addresses import resolved, shown
from stormline.connectors.brokers import Brokers
from stormline.core.errors import ServerError, SettingsError

if TYPE_CHECKING:
    from redis import Redis


PATIENT_S = 10.0
"""Who asks what is wrong may ask a Kafka that is slow: it may be silent as long as the clients bear it."""


class Servers(NamedTuple):
    """`check`: to be called now and then; starts embedded servers that have ended again, a line for each."""

    kafka: Brokers
    redis_url: str
    check: Callable[[], list[str]]


@contextmanager
def both(project: Project, env: Environment, on_wait: Callable[[str], None]) -> Iterator[Servers]:
    """Kafka and Redis for a run; what was started is stopped at the end. Raises SettingsError, ServerError.

    An environment that does not say where both are has none; stock topologies need none. See `require_both`.
    """
    if env.kafka is None or env.redis is None:
        yield Servers(Brokers(""), "", list)
        return
    env = found_here(env)
    assert env.kafka is not None and env.redis is not None  # noqa: PT018 - a reference leads to a text
    if not env.has_embedded_kafka:
        probe_kafka(env.kafka, env)
    if env.redis != EMBEDDED:
        probe_redis(env.redis, env)
    if EMBEDDED not in (env.kafka.bootstrap, env.redis):
        yield Servers(env.kafka, env.redis, list)
        return
    from stormline.embedded.servers import EmbeddedServers

    with EmbeddedServers.start(
        project.state,
        kafka_port=env.kafka_port,
        redis_port=env.redis_port,
        redis_server=env.redis_server,
        redis_only=not env.has_embedded_kafka,
        on_wait=on_wait,
    ) as servers:
        yield Servers(
            env.kafka._replace(bootstrap=servers.kafka) if env.has_embedded_kafka else env.kafka,
            servers.redis_url if env.redis == EMBEDDED else env.redis,
            servers.check,
        )


def require_both(env: Environment) -> None:
    """Raises SettingsError for an environment in which our components cannot work."""
    missing = [name for name in ("kafka", "redis") if getattr(env, name) is None]
    if missing:
        raise SettingsError(
            f'the environment "{env.name}" in {FILE} says nothing about {" and ".join(missing)}: give '
            '"embedded", or an address ("kafka": "host:9092", "redis": "redis://host:6379/0")'
        )


def found_here(env: Environment) -> Environment:
    """With the addresses of this machine where the environment has references. Raises SettingsError."""
    where = f'of the environment "{env.name}"'
    return env._replace(
        kafka=env.kafka and env.kafka.found_here(f'"kafka" {where}'),
        redis=env.redis and resolved(env.redis, f'"redis" {where}'),
    )


@contextmanager
def stored(project: Project, env: Environment, on_wait: Callable[[str], None]) -> Iterator[Redis]:
    """A client for what is stored: beside a run that is under way, or with the embedded Redis started for a moment."""
    from stormline.connectors.redis import connect

    if env.redis is None:
        raise SettingsError(f'the environment "{env.name}" in {FILE} says nothing about redis')
    if env.redis != EMBEDDED:
        url = resolved(env.redis, f'"redis" of the environment "{env.name}"')
        probe_redis(url, env)
        yield connect(url)
        return
    from stormline.embedded.servers import EmbeddedServers

    with EmbeddedServers.attach_or_start(project.state, redis_server=env.redis_server, on_wait=on_wait) as servers:
        yield connect(servers.redis_url)


@contextmanager
def beside(project: Project, env: Environment, on_wait: Callable[[str], None]) -> Iterator[Servers]:
    """Kafka and Redis of a run that is under way, or the embedded ones started for a moment. Raises as `both`."""
    require_both(env)
    assert env.kafka is not None and env.redis is not None  # noqa: PT018 - `require_both`
    env = found_here(env)
    assert env.kafka is not None and env.redis is not None  # noqa: PT018 - a reference leads to a text
    if not env.has_embedded_kafka:
        probe_kafka(env.kafka, env, answer_s=PATIENT_S)
    if env.redis != EMBEDDED:
        probe_redis(env.redis, env)
    if EMBEDDED not in (env.kafka.bootstrap, env.redis):
        yield Servers(env.kafka, env.redis, list)
        return
    from stormline.embedded.servers import EmbeddedServers

    with EmbeddedServers.attach_or_start(
        project.state, redis_server=env.redis_server, redis_only=not env.has_embedded_kafka, on_wait=on_wait
    ) as servers:
        kafka = env.kafka._replace(bootstrap=servers.kafka) if env.has_embedded_kafka else env.kafka
        yield Servers(kafka, servers.redis_url if env.redis == EMBEDDED else env.redis, list)


def probe_redis(url: str, env: Environment) -> None:
    """Raises ServerError if it does not answer."""
    from redis import RedisError

    from stormline.connectors.redis import connect

    try:
        connect(url).ping()
    except (RedisError, OSError, ValueError) as error:
        raise _unreachable("Redis", f"Redis at {shown(url)} does not answer: {error}", env) from error


def probe_kafka(brokers: Brokers, env: Environment, *, answer_s: float | None = None) -> None:
    """One of the brokers must let us in; clients would try for many seconds before they say that none does.
    `answer_s`: how long each may be silent."""
    from stormline.connectors.kafka_probe import ANSWER_S, fault

    if (told := fault(brokers, answer_s=answer_s or ANSWER_S)) is not None:
        raise _unreachable("Kafka", told, env)


def _unreachable(what: str, fault: str, env: Environment) -> ServerError:
    return ServerError(
        f"{fault}{'' if fault.endswith('?') else '.'}\n"
        f'Start it, or correct "{what.lower()}" of the environment "{env.name}" in {FILE}; '
        f"-e {EMBEDDED} needs no server.",
        retriable=True,
    )
