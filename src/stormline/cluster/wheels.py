"""The wheels of a topology's requirements, unpacked into one folder for the JAR; found again while nothing changes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from stormline.cluster import requirements
from stormline.core.errors import ServerError, SettingsError

_GLIBC: Final = range(28, 4, -1)
"""glibc 2.28 (RHEL 8, Debian 10) and older: wheels for these run on any Linux of today."""
_PROCESSORS: Final = ("x86_64", "aarch64", "arm64", "ppc64le", "s390x", "armv7l")
_NO_WHEEL: Final = re.compile(r"No matching distribution found for (\S+)")
Tell = Callable[[str], None]


class Workers(NamedTuple):
    """What the workers run; None: the same as this machine."""

    python: str | None = None
    """As 3.11."""
    platform: str | None = None
    """A platform tag of pip's, or linux_x86_64, linux_aarch64: any such Linux with glibc."""

    def like_this_machine(self) -> bool:
        return self.python in (None, _this_python()) and self.platform is None


class Wheels(NamedTuple):
    """`folder` holds the packages. `bundle`: for the launcher, which checks it on the worker."""

    folder: Path
    bundle: bytes


def gather(lines: list[str], workers: Workers, cache: Path, root: Path, named: str, tell: Tell) -> Wheels:
    """Fetch and unpack what `lines` of a requirements file ask for, and what the framework needs.

    Paths in it are relative to `root`; `named` says in messages where the lines are from. Raises SettingsError for a
    requirement that has no wheel for the workers, ServerError if pip fails otherwise.
    """
    own, streamparse = requirements.with_needed(lines)
    folder = cache / _digest([*own, streamparse, *_options(workers)], root)
    if not (folder / _DONE).is_file():
        tell(f"fetching the wheels of {named} for the workers' Python {workers.python or _this_python()}")
        _fetch(own, streamparse, workers, folder, root, named)
    return Wheels(folder / "packages", (folder / _DONE).read_bytes())


_DONE: Final = "bundle.json"
"""Written last."""


def _fetch(own: list[str], streamparse: str, workers: Workers, folder: Path, root: Path, named: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        indexes = [line for line in own if line.startswith("-") and not line.startswith("-c ")]
        (new / "own.txt").write_text("".join(f"{line}\n" for line in own))
        (new / "streamparse.txt").write_text("".join(f"{line}\n" for line in [*indexes, streamparse]))
        packages = new / "packages"
        options = [*_options(workers), "--target", str(packages)]
        _pip([*options, "-r", str(new / "own.txt")], root, named)
        _pip([*options, "--no-deps", "--upgrade", "-r", str(new / "streamparse.txt")], root, named)
        shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts, for the Python of this machine
        (new / _DONE).write_bytes(_bundle(packages, workers))
        try:
            new.rename(folder)
        except OSError:  # it is there: somebody else was faster, and uses it, or was stopped
            if not (folder / _DONE).is_file():
                shutil.rmtree(folder)
                new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _bundle(packages: Path, workers: Workers) -> bytes:
    """Which Python and machine the compiled packages need, if there are any; those with a stable interface need no
    Python of their own."""
    compiled, python = [], False
    for wheel in sorted(packages.glob("*.dist-info/WHEEL")):
        tags = [line.partition(": ")[2] for line in wheel.read_text().splitlines() if line.startswith("Tag: ")]
        if not any(tag.endswith("-any") for tag in tags):
            compiled.append(wheel.parent.name.partition("-")[0])
            python |= not any("-abi3-" in tag or "-none-" in tag for tag in tags)
    made = {
        "python": (workers.python or _this_python()) if python else None,
        "platform": _machine(workers) if compiled else None,
        "compiled": compiled,
    }
    return json.dumps(made, sort_keys=True).encode()


def _machine(workers: Workers) -> str:
    """As the launcher writes what it runs on: sys.platform, a dash, the processor."""
    if workers.platform is None:
        return f"{sys.platform}-{platform.machine()}"
    system = "darwin" if workers.platform.startswith("macosx") else "linux"
    processor = next((each for each in _PROCESSORS if workers.platform.endswith(each)), workers.platform)
    return f"{system}-{processor}"


def _options(workers: Workers) -> list[str]:
    options = ["--only-binary=:all:"]
    if not workers._replace(platform=None).like_this_machine():
        options += ["--python-version", str(workers.python), "--implementation", "cp"]
    if workers.platform is not None:
        system, _, processor = workers.platform.partition("_")
        tags = [workers.platform]
        if system == "linux":
            tags = [f"manylinux_2_{minor}_{processor}" for minor in _GLIBC] + [f"manylinux2014_{processor}"]
        options += [word for tag in tags for word in ("--platform", tag)]
    return options


def _digest(words: list[str], root: Path) -> str:
    """Of the lines and of the files that they name, and of the Python and machine that pip takes wheels for."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {sysconfig.get_platform()}\n".encode())
    for word in words:
        digest.update(f"{word}\n".encode())
        path = root / word.removeprefix("-c ").removeprefix("file://")
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _pip(arguments: list[str], root: Path, named: str) -> None:
    command = [*_pip_command(), "install", "--no-compile", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [*command, *arguments], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return
    missing = _NO_WHEEL.findall(done.stderr)
    if missing:
        raise SettingsError(
            f"{named}: there is no wheel of {', '.join(missing)} for the workers (pip: {_reason(done.stderr)}). Name a "
            "version that has one; or build a wheel (pip wheel) and name its file; or install it into a virtualenv of "
            'the workers ("use_virtualenv": true in config.json)'
        )
    raise ServerError(f"{named}: pip could not fetch the wheels:\n{done.stderr.strip()}")


def _reason(text: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: Could not")]
    return lines[0] if lines else text.strip().splitlines()[-1]


def _pip_command() -> list[str]:
    """The pip of this Python, or the one that it carries for new virtual environments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip and ensurepip.origin:
        folders = [
            sysconfig.get_config_var("WHEEL_PKG_DIR"),
            os.path.join(os.path.dirname(ensurepip.origin), "_bundled"),
        ]
        for folder in filter(None, folders):
            for wheel in sorted(Path(folder).glob("pip-*.whl")):
                return [sys.executable, f"{wheel}/pip"]
    raise SettingsError(f"{sys.executable} has no pip, which fetches the wheels: install it (python3 -m ensurepip)")


def _this_python() -> str:
    return ".".join(map(str, sys.version_info[:2]))
