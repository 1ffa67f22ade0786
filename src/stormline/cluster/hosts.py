"""The machines of the workers: a shell command runs on each, through ssh, or at once where it is this one."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from stormline.cluster import ssh
from stormline.cluster.ssh import Ssh
from stormline.core.errors import ServerError, SettingsError

POOL_SIZE: Final = 10
"""Machines at a time, as in streamparse."""
_STOP_LIMIT_S: Final = 5.0
_T = TypeVar("_T")


def is_here(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1", socket.gethostname())


def run(host: str, command: str, access: Ssh, *, stdin: str = "") -> str:
    """What the shell `command` wrote to stdout on `host`. Raises ServerError, with stderr, if it or ssh failed."""
    words = _words(host, command, access)
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise SettingsError(ssh.NO_CLIENT) from error
    if done.returncode == ssh.FAILED and not is_here(host):
        raise ServerError(ssh.unreachable(host, done.stderr), retriable=True)
    if done.returncode != 0:
        raise ServerError(f"{host}: `{command}` ended with status {done.returncode}: {done.stderr.strip() or '-'}")
    return done.stdout


def start(host: str, command: str, access: Ssh) -> subprocess.Popen[str]:
    """One program that goes on, its output in a pipe; `stop` ends it, and so does our death."""
    # The far end has no other sign that we are gone than the end of its input, which a background process has not.
    watched = f"exec 3<&0; (exec {command}) & child=$!; (cat <&3; kill $child) >/dev/null 2>&1 & wait $child"
    words = _words(host, watched, access)
    try:
        return subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
        )
    except FileNotFoundError as error:
        raise SettingsError(ssh.NO_CLIENT) from error


def stop(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def on_each(hosts: Sequence[str], what: Callable[[str], _T], pool_size: int = POOL_SIZE) -> list[_T]:
    """`what(host)` for each, side by side. Raises ServerError with the faults of all that failed."""
    faults: list[str] = []
    results: list[_T] = []
    with ThreadPoolExecutor(max(1, min(pool_size, len(hosts)))) as pool:
        for future in [pool.submit(what, host) for host in hosts]:
            try:
                results.append(future.result())
            except ServerError as error:
                faults.append(str(error))
    if faults:
        raise ServerError("\n".join(faults))
    return results


def as_user(command: str, user: str | None, own: str | None) -> str:
    """`command` run by `user` through sudo, unless that is who logs in anyway (`own`)."""
    if not user or user == own:
        return command
    return f"sudo -n -u {shlex.quote(user)} sh -c {shlex.quote(command)}"


def _words(host: str, command: str, access: Ssh) -> list[str]:
    return ["sh", "-c", command] if is_here(host) else [*access.command(host), command]
