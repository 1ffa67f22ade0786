"""One submit of an app at a time, by a lock in its Redis: a run number taken in vain shuts out the run that lives."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from stormline.connectors.redis_commands import app_key
from stormline.core.errors import StateError

if TYPE_CHECKING:
    from redis import Redis

HELD_FOR_S: Final = 60
"""Longer than what is done under it; a submit that was killed stands in the way of the next for so long."""
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


@contextmanager
def alone(client: Redis, app: str) -> Iterator[None]:
    """Raises StateError while another one is under way."""
    key = app_key(app, "submit")
    mine = f"process {os.getpid()} on {platform.node()}, since {time.strftime('%H:%M:%S')} #{secrets.token_hex(8)}"
    if not client.set(key, mine, nx=True, ex=HELD_FOR_S):
        holder = client.get(key)
        who = holder.decode().partition(" #")[0] if isinstance(holder, bytes) else "one that has just ended"
        raise StateError(
            f"another submit of {app} is under way ({who}); wait for it. If it was killed, its place is free again "
            f"after {HELD_FOR_S} s"
        )
    try:
        yield
    finally:
        client.eval(_RELEASE, 1, key, mine)
