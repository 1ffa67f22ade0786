"""The server of all histories, asked with the real scripts."""

from __future__ import annotations

from typing import Any

import redis

from stormline.connectors.redis_commands import SCRIPTS, command, reply
from stormline.core.requests import Reply

APP = "sim"


class Server:
    """The server of all histories: each begins with an empty one."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.shas = {name: client.script_load(text) for name, text in SCRIPTS.items()}

    def ask(self, request: Any) -> Reply:
        try:
            answer = self.client.execute_command(*command(APP, request, self.shas))
        except redis.ResponseError as error:
            answer = error
        return reply(request, answer)
