"""Whether workers will find every component: tried in an unpacked copy of the JAR, where there is nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stormline.cluster import jar as jars
from stormline.core.errors import SettingsError


def require_all(jar: Path, classes: Mapping[str, str], *, alone: bool, requirements: str) -> None:
    """`classes`: what it is -> `module.Class`. `alone`: with the wheels of the JAR, without this machine's packages.
    `requirements` says in messages where a missing package is to be named.

    Raises SettingsError with every class that is not found, and why.
    """
    targets = sorted(set(classes.values()))
    text = f"from runpy import run_path; run_path({jars.LAUNCHER!r})['check']({targets!r})"
    with tempfile.TemporaryDirectory(prefix="stormline-") as folder:
        jars.unpack(jar, Path(folder))
        tried = subprocess.run(
            [sys.executable, "-ISBc" if alone else "-IBc", text],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        found = json.loads(tried.stdout)
    except ValueError:
        raise SettingsError(f"the components cannot be tried in a copy of src/:\n{tried.stderr.strip()}") from None
    faults = [
        f"{what}: {_why(classes[what], *found[classes[what]], requirements=requirements)}"
        for what in classes
        if found[classes[what]] is not None
    ]
    if faults:
        raise SettingsError(*faults)


def _why(target: str, error: str, missing: str | None, trace: str, *, requirements: str) -> str:
    module, _, name = target.rpartition(".")
    if error == "ModuleNotFoundError" and missing and (module == missing or module.startswith(f"{missing}.")):
        return f"its class {name} is in {module}, which is not in src/; all that ships to the workers is there"
    if error == "ModuleNotFoundError":
        return f"{module} needs {missing}, which workers do not have; name its package in {requirements}"
    if error == "AttributeError" and missing == name and f"module '{module}'" in trace:
        return (
            f"{module} has no {name} at its top; workers import a component by its name, so its class cannot be nested "
            "in another, or be made in a function"
        )
    return f"{module} cannot be imported from a copy of src/:\n{trace.strip()}"
