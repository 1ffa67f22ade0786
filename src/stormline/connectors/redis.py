"""The store on Redis: a thread of its own that carries out requests as pipelines, and what the command line asks of it.

redis-py's retries are off: by default it silently sends again commands that are not idempotent. What was not answered
is `Unknown` to the core, which knows how to go on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stormline.connectors.addresses import shown
from stormline.connectors.redis_commands import SCRIPTS, app_key, command, reply
from stormline.connectors.versions import Choice, Migrate, Version, require_version, take_over
from stormline.core.errors import ServerError, SettingsError, StateError
from stormline.core.requests import Flush, Gone, Load, Refused, Reply, Request, Unknown

ANSWER_WITHIN_S = 5.0

Post = Callable[[Callable[[], None]], None]
Done = Callable[[list[Reply]], None]


def connect(url: str, on_connect: Callable[[Any], None] | None = None) -> redis.Redis:
    """A client without retries, with RESP2 replies as bytes. Nothing is sent yet.

    `on_connect` is called with each new connection in place of redis-py's own handshake, its `on_connect`.
    """
    return redis.Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=ANSWER_WITHIN_S,
        socket_connect_timeout=ANSWER_WITHIN_S,
        decode_responses=False,
        redis_connect_func=on_connect,
    )


class RedisStore:
    """One connection and one thread for all components of a process: what waits is sent together, as one pipeline, so
    that a server which syncs its append-only file before it answers does so once for all."""

    def __init__(self, url: str) -> None:
        self._client = connect(url, self._on_connect)
        self._greeting = False
        self._inbox: queue.SimpleQueue[tuple[str, Sequence[Request], Done, Post] | None] = queue.SimpleQueue()
        self._run_id: str | None = None
        self._shas: dict[str, str] = {}
        self._loaded_under: dict[tuple[str, str, int], str] = {}
        self._thread = threading.Thread(target=self._serve, name="redis-store", daemon=True)
        self._thread.start()

    def submit(self, app: str, requests: Sequence[Request], done: Done, post: Post) -> None:
        self._inbox.put((app, requests, done, post))

    def close(self) -> None:
        """Finish what was submitted and stop."""
        self._inbox.put(None)
        self._thread.join(ANSWER_WITHIN_S)
        self._client.close()

    def _serve(self) -> None:
        open_ = True
        while open_:
            jobs = [self._inbox.get()]
            while not self._inbox.empty():
                jobs.append(self._inbox.get())
            open_ = None not in jobs
            work = [job for job in jobs if job is not None]
            try:
                answers = self._carry_out([(app, request) for app, requests, _, _ in work for request in requests])
            except Exception as error:  # the thread must outlive whatever a server or a network does to it
                self._run_id = None
                why = f"{type(error).__name__}: {error}"
                answers = [Unknown(why) for _, requests, _, _ in work for _ in requests]
            for _, requests, done, post in work:
                mine, answers = answers[: len(requests)], answers[len(requests) :]
                post(partial(done, mine))

    def _carry_out(self, work: list[tuple[str, Request]]) -> list[Reply]:
        if self._run_id is None:
            self._run_id = self._greet()
        run_id = self._run_id
        halted = self._halted({app for app, request in work if isinstance(request, Load)})
        pipeline = self._client.pipeline(transaction=False)
        replies: list[Reply | None] = []
        for app, request in work:
            held_back = self._hold_back(app, request, run_id, halted)
            replies.append(held_back)
            if held_back is None:
                pipeline.execute_command(*command(app, request, self._shas))
        answered = pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answered):
            self._run_id = None  # somebody flushed the scripts: load them again
        answers = iter(answered)
        result: list[Reply] = []
        for (app, request), held_back in zip(work, replies, strict=True):
            answer = held_back if held_back is not None else reply(request, next(answers))
            if isinstance(request, Load) and not isinstance(answer, Refused | Unknown):
                self._loaded_under[app, request.component, request.slot] = run_id
            result.append(answer)
        return result

    def _hold_back(self, app: str, request: Request, run_id: str, halted: Mapping[str, str]) -> Reply | None:
        """An answer without asking: to flushes of slots loaded before a restart of Redis, to loads of a halted app."""
        if isinstance(request, Flush) and self._loaded_under.get((app, request.component, request.slot)) != run_id:
            return Gone()
        if isinstance(request, Load) and app in halted:
            return Refused(halted[app], halted=True)
        return None

    def _greet(self) -> str:
        """Whose life is this, and does it know the scripts? Asked in one go, so both answers are of one life."""
        pipeline = self._client.pipeline(transaction=False)
        for text in SCRIPTS.values():
            pipeline.script_load(text)
        pipeline.info("server")
        self._greeting = True
        try:
            *shas, server = pipeline.execute()
        finally:
            self._greeting = False
        self._shas = dict(zip(SCRIPTS, shas, strict=True))
        return str(server["run_id"])

    def _on_connect(self, connection: Any) -> None:
        """redis-py replaces an idle connection that was closed without a word; but behind it may be another life of
        the server, for which what is about to be sent was not meant."""
        if not self._greeting:
            raise redis.exceptions.ConnectionError("the server has closed the connection")
        connection.on_connect()

    def _halted(self, apps: set[str]) -> dict[str, str]:
        return {app: why for app in apps if (why := halted(self._client, app)) is not None}


def halted(client: redis.Redis, app: str) -> str | None:
    """Why the app must not go on, or None."""
    why, run = client.mget(app_key(app, "halt"), app_key(app, "run"))
    if why is not None:
        return _text(why)
    return None if run is not None else "Redis has lost the run marker of this app"


def stored_graph(client: redis.Redis, app: str) -> str | None:
    """The fingerprint of the graph that has made what is stored of the app; None: nothing is."""
    found = client.get(app_key(app, "graph"))
    return None if found is None else _text(found)


def require_durable(client: redis.Redis, where: str) -> None:
    """Refuse a Redis that may forget what it confirmed.

    Raises:
        SettingsError: it does not sync before it answers, or may evict keys. The message says what to set.
        ServerError: it does not answer.
    """
    try:
        settings = {k: v for name in ("append*", "maxmemory-policy") for k, v in client.config_get(name).items()}
    except redis.RedisError as error:
        raise ServerError(f"Redis at {shown(where)} does not answer: {error}", retriable=True) from error
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    have = {_text(k): _text(v) for k, v in settings.items()}
    wrong = [name for name, value in wanted.items() if have.get(name) != value]
    if wrong:
        raise SettingsError(
            f"Redis at {shown(where)} may lose results that it has confirmed: "
            + ", ".join(f"{name} is {have.get(name, 'unknown')}" for name in wrong)
            + ".\nSet it with: "
            + "; ".join(f"redis-cli CONFIG SET {name} {wanted[name]}" for name in wrong)
            + ' (and in its redis.conf), or say "durability": "memory" in the environment to live with it.'
        )


def begin_run(
    client: redis.Redis,
    app: str,
    version: Version,
    choice: Choice | None = None,
    migrations: Mapping[str, Migrate] | None = None,
) -> int:
    """Number this run of the app; an older run can load nothing any more. Where another version made what is stored,
    `choice` says what becomes of it. Raises as `require_ready` and `versions.take_over` do."""
    require_ready(client, app, version, choice)
    take_over(client, app, version, choice, migrations or {})
    if trying := client.hgetall(app_key(app, "trying")):
        # Of a run that is over: no task may ever enter with its partition again, and nothing else could be tried.
        pipeline = client.pipeline()
        if trying.get(b"records") == b"1":
            record = f"{_text(trying[b'partition'])}/{_text(trying[b'offset'])}"
            pipeline.hincrby(app_key(app, "blamed"), record, 1)
        pipeline.delete(app_key(app, "trying"))
        pipeline.execute()
    return int(client.incr(app_key(app, "run")))


def require_ready(client: redis.Redis, app: str, version: Version, choice: Choice | None = None) -> None:
    """Nothing is changed.

    Raises:
        StateError: the app is halted, or what is stored was made by another version, and nobody has chosen what is to
            become of it.
    """
    why = client.get(app_key(app, "halt"))
    if why is not None:
        raise StateError(f"{app} is halted: {_text(why)}")
    require_version(client, app, version, choice)


def clear(client: redis.Redis, app: str) -> int:
    """Delete all keys of this app, and only of this app; how many there were."""
    count = 0
    for pattern in (f"{{{_escaped(app)}}}:*", f"{{{_escaped(app)}:*}}:*"):
        keys: list[Any] = []
        for key in client.scan_iter(match=pattern, count=1000):
            keys.append(key)
            if len(keys) == 1000:
                count += client.unlink(*keys)
                keys.clear()
        count += client.unlink(*keys) if keys else 0
    return count


def resume(client: redis.Redis, app: str) -> bool:
    """Clear a halt; True if there was one."""
    return bool(client.delete(app_key(app, "halt")))


def set_ends(client: redis.Redis, app: str, topic: str, ends: Mapping[int, int] | None) -> None:
    """Say where a bounded input ends: partition number -> end offset. None: it is being fed."""
    key = app_key(app, f"ends:{topic}")
    if ends is None:
        client.delete(key)
    else:
        client.hset(key, mapping={str(number): end for number, end in ends.items()})


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)
