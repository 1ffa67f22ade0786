"""Other machines, by the ssh client of this one: its keys, its agent, its config file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, NamedTuple

from stormline.core.errors import ServerError, SettingsError
from stormline.embedded import ports

CONNECT_LIMIT_S: Final = 15
_PAUSE_S: Final = 0.05
FAILED: Final = 255
"""ssh's own exit code; any other is the command's."""
NO_CLIENT: Final = "no ssh on this machine: install it (Debian, Ubuntu: apt install openssh-client)"


class Ssh(NamedTuple):
    """None: what ssh's own config says."""

    user: str | None = None
    port: int | None = None

    def command(self, host: str, *more: str) -> list[str]:
        """The start of a command line; what runs on `host` is to follow."""
        words = ["ssh", "-o", f"ConnectTimeout={CONNECT_LIMIT_S}"]
        if not sys.stdin.isatty():  # nobody is there to be asked for a password
            words += ["-o", "BatchMode=yes"]
        if self.port:
            words += ["-p", str(self.port)]
        return [*words, *more, "--", f"{self.user}@{host}" if self.user else host]


@contextmanager
def tunnel(host: str, port: int, ssh: Ssh) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port` of `host`'s own loopback, while the block runs. Raises ServerError."""
    local = ports.free_port()
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{ports.HOST}:{local}:localhost:{port}"]
    try:
        process = subprocess.Popen(
            ssh.command(host, *options), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise SettingsError(NO_CLIENT) from error
    try:
        until = time.monotonic() + 2 * CONNECT_LIMIT_S
        while not ports.is_taken(local):  # ssh listens only once it has logged in
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise ServerError(unreachable(host, _rest(process.stderr)), retriable=True)
            time.sleep(_PAUSE_S)
        yield local
    finally:
        process.terminate()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def unreachable(host: str, said: str) -> str:
    lines = [line for line in said.strip().splitlines() if not line.startswith("Warning: Permanently added")]
    return (
        f"ssh does not reach {host}: {lines[-1] if lines else 'no answer'}. "
        f"Try `ssh {host}` by hand; user and port are taken from ~/.ssh/config, or from "
        '"user" and "ssh_port" of the environment in config.json'
    )


def _rest(pipe: IO[bytes] | None) -> str:
    return pipe.read().decode(errors="replace") if pipe is not None else ""
