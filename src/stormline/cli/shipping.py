"""From a topology to its JAR: what goes in, and whether the workers will find every component in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stormline
from stormline.cli.config import Project
from stormline.cluster import commands, jar, requirements, resolving, wheels
from stormline.components.chaining import links
from stormline.connectors.brokers import CONFLUENT, CONFLUENT_PACKAGE
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.cli.topologies import Loaded
    from stormline.cli.worker_python import WorkerPython

Tell = Callable[[str], None]


def requirement_files(project: Project, loaded: Loaded, given: Sequence[Path]) -> list[Path]:
    """Those of the command line, or virtualenvs/TOPOLOGY.txt if there is one. Without one the workers of a topology get
    what the framework itself needs."""
    own = project.virtualenvs / f"{loaded.path.stem}.txt"
    return list(given) or [path for path in [own] if path.is_file()]


def build(
    project: Project,
    loaded: Loaded,
    python: WorkerPython,
    files: Sequence[Path],
    target: Path,
    tell: Tell,
    client: str | None = None,
) -> Path:
    """Make the JAR at `target`, and try every component in an unpacked copy of it. `client`: of Kafka, on the workers.

    Raises SettingsError (a requirement without a wheel, every component that is not found), ServerError (pip).
    """
    java = [
        name
        for name, component in commands.components(loaded.topology.thrift_topology).items()
        if commands.shell_of(component) is None
    ]
    if java:
        raise SettingsError(
            f"{', '.join(java)}: components in Java need a JAR with their classes: build one (lein uberjar, mvn "
            "package) and name it with -j"
        )
    named = ", ".join(_short(path, project) for path in files) or "what Stormline itself needs"
    packed = None
    if python.wheels is not None:
        lines = [line for path in files for line in requirements.read(path)]
        if client == CONFLUENT:
            lines = requirements.naming(lines, CONFLUENT_PACKAGE)
        packed = wheels.gather(lines, python.wheels, project.state / "wheels", project.root, named, tell)
    content = jar.content(
        project.root / "src",
        Path(stormline.__file__).parent,
        packed and packed.folder,
        packed and packed.bundle,
    )
    jar.write(target, content)
    require_found(loaded, target, python, _short(project.virtualenvs / f"{loaded.path.stem}.txt", project))
    return target


def require_found(loaded: Loaded, made: Path, python: WorkerPython, requirements_file: str) -> None:
    """Raises SettingsError with every component of the topology that workers would not find in the JAR."""
    resolving.require_all(
        made,
        classes(loaded.topology),
        # Wheels for another Python cannot be tried with this one.
        alone=python.wheels is not None and python.wheels.like_this_machine(),
        requirements=requirements_file,
    )


def classes(topology: Any) -> dict[str, str]:
    """What a worker imports: what it is -> `module.Class`."""
    found = {}
    for name, component in commands.components(topology.thrift_topology).items():
        target = commands.target(commands.shell_of(component))
        if target is not None:
            found[name] = target
        conf = json.loads(component.common.json_conf or "{}")
        if "stormline.schema" in conf:
            found[f"{name}, its schema"] = conf["stormline.schema"].replace(":", ".")
        found |= {link.name: link.path.replace(":", ".") for link in links(conf)}
    return found


def _short(path: Path, project: Project) -> str:
    return str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
