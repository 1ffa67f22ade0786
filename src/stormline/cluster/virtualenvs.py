"""A virtualenv on each worker's machine, made or brought up to date there: streamparse's way to the requirements."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from stormline.cluster import hosts
from stormline.cluster.ssh import Ssh
from stormline.core.errors import SettingsError

_PIP: Final = "--disable-pip-version-check --no-input --quiet --progress-bar off"


class Virtualenv(NamedTuple):
    """`path`: absolute, the same on each host. `flags`: for what makes it, `--python python3.11` for example."""

    path: str
    flags: str = ""

    @classmethod
    def named(cls, root: str | None, name: str, flags: str | None) -> Virtualenv:
        """By the environment's keys virtualenv_root and virtualenv_flags. Raises SettingsError."""
        if not root or not PurePosixPath(root).is_absolute():
            raise SettingsError(f'"virtualenv_root" must be an absolute path on the workers, got {root!r}')
        return cls(str(PurePosixPath(root) / name), flags or "")


def update(
    machines: Sequence[str],
    access: Ssh,
    virtualenv: Virtualenv,
    requirements: str,
    *,
    overwrite: bool = False,
    user: str | None = None,
    pool_size: int = hosts.POOL_SIZE,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Make it where it is not, and install `requirements` (lines of a requirements file) into it, on each machine.

    `virtualenv` is used where there is one, else the venv of python3. `overwrite` makes it anew. `user`: by sudo.
    Raises ServerError with what failed on each machine; the others are done.
    """
    path = shlex.quote(virtualenv.path)
    # The two have most flags in common; one that venv does not know makes it say so.
    make = (
        f"if command -v virtualenv >/dev/null; then virtualenv -q {virtualenv.flags} {path}; "
        f"else python3 -m venv {virtualenv.flags} {path}; fi"
    )
    steps = [f"rm -rf {path}"] if overwrite else []
    steps += [
        f"mkdir -p {shlex.quote(str(PurePosixPath(virtualenv.path).parent))}",
        f"[ -x {path}/bin/python ] || {{ {make}; }}",
        # From stdin: nothing is left behind on the machine.
        f"{path}/bin/python -m pip install {_PIP} --upgrade --upgrade-strategy only-if-needed -r /dev/stdin",
        f"{path}/bin/python --version",
    ]
    command = hosts.as_user(" && ".join(f"{{ {step}; }}" for step in steps), user, access.user)

    def on(host: str) -> None:
        version = hosts.run(host, command, access, stdin=requirements).strip()
        tell(f"{host}: {virtualenv.path} is up to date, {version.splitlines()[-1]}")

    hosts.on_each(machines, on, pool_size)
