"""The programs that the cluster needs and Stormline does not bring: Java and Maven."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from stormline.core.errors import SettingsError

JAVA: Final = 17
"""Storm 2.8 and Kafka 4 need it; newer ones do too."""
_ASK_S: Final = 30.0
_INSTALL: Final = {
    "Java": "Debian, Ubuntu: apt install openjdk-17-jdk-headless; Fedora: dnf install java-17-openjdk-devel; "
    "macOS: brew install openjdk@17, then export JAVA_HOME=$(brew --prefix openjdk@17)",
    "Maven": "Debian, Ubuntu: apt install maven; Fedora: dnf install maven; macOS: brew install maven",
}


class Found(NamedTuple):
    """`fault`: what is wrong with it, and how to put it right; None if it will do."""

    name: str
    path: str | None
    version: str | None
    fault: str | None


def java_home() -> Path | None:
    """The JDK: JAVA_HOME if it is set (a Supervisor starts its workers by it too), else that of `javac` on PATH."""
    if home := os.environ.get("JAVA_HOME"):
        return Path(home)
    compiler = shutil.which("javac") or shutil.which("java")
    return Path(compiler).resolve().parents[1] if compiler else None


def look() -> list[Found]:
    """Java (a JDK: the loopback agent is compiled here) and Maven."""
    return [_java(), _maven()]


def require() -> Path:
    """The home of the JDK. Raises SettingsError with everything that is missing and the line that installs it."""
    faults = [found.fault for found in look() if found.fault]
    if faults:
        raise SettingsError(*faults)
    home = java_home()
    assert home is not None
    return home


def _java() -> Found:
    home = java_home()
    java = home / "bin" / "java" if home else None
    said = _ask([str(java), "-version"]) if java else None
    if java is None or said is None:
        where = f" at JAVA_HOME={home}" if os.environ.get("JAVA_HOME") else ""
        return Found("Java", None, None, f"no Java{where}: the cluster needs a JDK {JAVA} or newer. {_INSTALL['Java']}")
    match = re.search(r'version "(?:1\.)?(\d+)[^"]*"', said)
    version = match.group(0).removeprefix("version ").strip('"') if match else said.splitlines()[0]
    fault = None
    if match is None or int(match.group(1)) < JAVA:
        fault = f"Java {version} ({java}) is too old: the cluster needs a JDK {JAVA} or newer. {_INSTALL['Java']}"
    elif not os.access(java.with_name("javac"), os.X_OK):
        fault = f"{java.parent} has no javac: the cluster needs a JDK {JAVA}, not only a JRE. {_INSTALL['Java']}"
    return Found("Java", str(java), version, fault)


def _maven() -> Found:
    path = shutil.which("mvn")
    if path is None:
        return Found("Maven", None, None, f"no mvn on PATH: Maven fetches Storm and Kafka. {_INSTALL['Maven']}")
    said = _ask([path, "--version"])
    match = re.search(r"Apache Maven (\S+)", said or "")
    if match is None:
        return Found("Maven", path, None, f"{path} --version does not work: {(said or 'no answer').strip()[:200]}")
    return Found("Maven", path, match.group(1), None)


def _ask(command: list[str]) -> str | None:
    """What it says about itself, on either stream; None if it cannot be run."""
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.decode(errors="replace")
