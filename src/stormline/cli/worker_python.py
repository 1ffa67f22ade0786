"""The Python of the workers, by the keys of an environment: with wheels from the JAR, or in a virtualenv of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from stormline.cli.config import FILE, Environment
from stormline.cluster.nimbus_settings import NimbusSettings
from stormline.cluster.virtualenvs import Virtualenv
from stormline.cluster.wheels import Workers
from stormline.core.errors import SettingsError

COMMAND = "python3"
_HERE = ("localhost", "127.0.0.1", "::1")


class WorkerPython(NamedTuple):
    """`command`: what starts it there. `wheels`: what they are made for; None: a virtualenv has the packages.
    `virtualenv`: if it is to be made or brought up to date first, by ssh."""

    command: str
    wheels: Workers | None
    virtualenv: Virtualenv | None = None


def worker_python(env: Environment, app: str) -> WorkerPython:
    """Raises SettingsError with every fault of the keys."""
    stock, faults = env.stock, []
    where = f'environment "{env.name}" in {FILE}'
    if not stock.get("use_virtualenv", False):
        if stock.get("install_virtualenv"):
            faults.append(
                f'"install_virtualenv" of {where} needs "use_virtualenv": true; else there is none to install'
            )
        wheels = Workers(stock.get("python_version"), stock.get("python_platform"))
        made = WorkerPython(stock.get("python", COMMAND), wheels)
    else:
        faults += [
            f'"{key}" of {where} has no meaning with "use_virtualenv": the virtualenv has its own'
            for key in ("python_version", "python_platform")
            if key in stock
        ]
        root = stock.get("virtualenv_root") or stock.get("virtualenv_path")
        try:
            there = Virtualenv.named(root, stock.get("virtualenv_name") or app, stock.get("virtualenv_flags"))
            install = stock.get("install_virtualenv", True)
            made = WorkerPython(f"{there.path}/bin/python", None, there if install else None)
        except SettingsError as error:
            faults += error.faults
    if faults:
        raise SettingsError(*faults)
    return made


def asked_here(python: WorkerPython, env: Environment, nimbus: NimbusSettings) -> WorkerPython:
    """With the version that the command says, where this machine is the only worker. Raises SettingsError if it is too
    old or not there; elsewhere the launcher tells that on the worker."""
    if python.wheels is None or python.wheels.python or python.wheels.platform or not _is_here(env, nimbus):
        return python
    version = _version(python.command)
    if version is None:
        raise SettingsError(
            f'the workers\' Python, "{python.command}", cannot be started here; name one as "python" in the '
            f'environment "{env.name}" of {FILE}'
        )
    if version < (3, 11):
        raise SettingsError(
            f'the workers\' Python, "{python.command}", is {version[0]}.{version[1]}, and Stormline needs 3.11 or '
            f'newer; name another as "python" in the environment "{env.name}" of {FILE}'
        )
    return python._replace(wheels=python.wheels._replace(python=f"{version[0]}.{version[1]}"))


def _is_here(env: Environment, nimbus: NimbusSettings) -> bool:
    hosts = {str(host) for host in env.stock.get("workers") or ()} | {seed.host for seed in nimbus.seeds}
    return bool(env.stock.get("workers")) and hosts <= set(_HERE)


def _version(command: str) -> tuple[int, int] | None:
    """Found as a Supervisor of `sparse up` finds it."""
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    text = "import sys; print(*sys.version_info[:2])"
    try:
        said: Any = subprocess.run(
            [command, "-c", text], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        )
        major, minor = map(int, said.stdout.split())
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return major, minor
