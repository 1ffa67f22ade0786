"""Installs what requirements/NAME.txt pins into the project's .venv; run by `./sparse`, before anything is installed.

Hence the standard library only. It need not be repeated: a stamp, written last, says what is installed. A call that was
interrupted is repaired by the next, and of two calls at the same time the second waits for the first.
"""

from __future__ import annotations

import fcntl
import glob
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / ".venv"
TAKES = {"run": "about 15 s, up to a minute on a slow line", "test": "about 10 s"}
"""How long each list takes, for the one line that is shown."""
PIP_OPTIONS = [
    "--no-deps",  # the lists are complete
    "--no-compile",  # `_compile` does it for what is used, a tenth of it
    "--only-binary=:all:",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
]


class InstallError(Exception):
    """The message says what to do."""


def install(name: str, pins: str) -> None:
    """Bring .venv to what requirements/NAME.txt pins; `pins`: that file's POSIX checksum and size, as cksum prints it.

    Returns at once if the stamp says that it is there.
    """
    state = ROOT / ".stormline"
    state.mkdir(exist_ok=True)
    with open(state / "install.lock", "w") as lock:
        _wait_for(lock)
        stamp, wanted = VENV / f"{name}.stamp", _stamp(pins)
        if stamp.is_file() and stamp.read_text() == wanted and (VENV / "bin" / "python").exists():
            return
        requirements = [
            line
            for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
            if line and not line.startswith("#")
        ]
        print(
            f"sparse: installing {len(requirements)} packages into .venv with Python {sys.version.split()[0]}, "
            f"once ({TAKES[name]})",
            file=sys.stderr,
            flush=True,
        )
        if name == "run" and not _usable(stamp):
            _make_venv()
        stamp.unlink(missing_ok=True)
        _pip_install(requirements, lock)
        if name == "run":
            _link_project()
            _compile()
        new = stamp.with_suffix(".new")
        new.write_text(wanted)
        new.replace(stamp)


def _stamp(pins: str) -> str:
    """Checksum and size of the pins, and the Python; `./sparse` compares the first, and the end if it is asked to."""
    asked = os.environ.get("SPARSE_PYTHON")
    return f"{pins} {sys.version.split()[0]}" + (f" by {asked}" if asked else "") + "\n"


def _usable(stamp: Path) -> bool:
    """Whether .venv was once complete and is of this Python: then packages are exchanged in place."""
    if not stamp.is_file() or not (VENV / "bin" / "python").exists():
        return False
    words = stamp.read_text().split()
    return len(words) > 2 and words[2] == sys.version.split()[0]


def _site_packages() -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV), "platbase": str(VENV)}))


def _wait_for(lock: IO[str]) -> None:
    """The kernel lets the lock go when all who hold it have ended: this process, and the pips that inherit it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("sparse: waiting for another installation into .venv to end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _make_venv() -> None:
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(VENV)
    # To python3.11, not to python3: an upgrade of the machine's Python must break the link, so that it is noticed.
    python = VENV / "bin" / "python"
    real = os.path.realpath(python)
    python.unlink()
    python.symlink_to(real)


def _pip_install(requirements: list[str], lock: IO[str]) -> None:
    """Two pips, half of the list each: reading the index is bound by the processor, and this halves the wait."""
    command = _pip() + ["install", *PIP_OPTIONS]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for half in filter(None, (requirements[::2], requirements[1::2])):
            running.append(
                subprocess.Popen(
                    [*command, *half], stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[lock.fileno()]
                )
            )
        failed = [process for process in running if process.wait() != 0]
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if failed:
        raise InstallError(
            "pip could not install the packages; its message is above. A network or a proxy that is not reached is the "
            "usual reason (pip's own settings are honoured). Then run the same command again"
        )


def _pip() -> list[str]:
    """The start of a pip command for .venv. `python -m venv` would take 8 s to install and compile pip; this, 0.3 s."""
    python = str(VENV / "bin" / "python")
    if (_site_packages() / "pip").is_dir():
        return [python, "-m", "pip"]
    bundled = sysconfig.get_config_var("WHEEL_PKG_DIR") or ""
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip and ensurepip.submodule_search_locations:
        bundled = bundled or os.path.join(ensurepip.submodule_search_locations[0], "_bundled")
    for wheel in glob.glob(os.path.join(glob.escape(bundled), "pip-*.whl")) if bundled else []:
        with zipfile.ZipFile(wheel) as file:
            file.extractall(_site_packages())
        return [python, "-m", "pip"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", python]
    major, minor = sys.version_info[:2]
    raise InstallError(
        f"Python {major}.{minor} at {sys.executable} has neither pip nor the means to make one. "
        f"On Debian and Ubuntu: apt install python3-venv (or python{major}.{minor}-venv). Then try again"
    )


def _link_project() -> None:
    """The project itself, without a build: its src/ on the path, and the two commands in .venv/bin.

    streamparse has installed a `sparse` of its own just before; this one is the project's.
    """
    packages = _site_packages()
    (packages / "stormline.pth").write_text(os.path.relpath(ROOT / "src", packages) + "\n")
    for name in ("sparse", "stormline"):
        script = VENV / "bin" / name
        script.unlink(missing_ok=True)
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(VENV / "bin" / "python"))} -P -m stormline.cli "$@"\n')
        script.chmod(0o755)


def _compile() -> None:
    """Compile what a run imports. The first run would do it anyway, but not where PYTHONDONTWRITEBYTECODE is set: there
    each run would spend a second and a half on it."""
    modules = "stormline.cli.running, stormline.cli.run, stormline.cli.results, stormline.cli.summary, rich.live"
    components = "stormline.components.kafka_spout, stormline.components.window_bolt, stormline.components.filter_bolt"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [str(VENV / "bin" / "python"), "-c", f"import {modules}, {components}, stormline.embedded.kafka.__main__"],
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,  # what cannot be imported will say so itself
    )


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the pips are ended, too
    try:
        install(sys.argv[1], sys.argv[2])
    except InstallError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot install into {VENV}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sparse: interrupted; the next call begins the installation again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
