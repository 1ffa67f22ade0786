"""Finds the topologies of a project, imports one, and tells a mistake in the user's files with its file and line."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stormline.cli.config import FILE, Project, did_you_mean
from stormline.cli.sections import Rows, Section, Top
from stormline.components.chaining import chained
from stormline.components.group import check_group
from stormline.components.keyed_bolt import KeyedBolt
from stormline.core.errors import SettingsError


class Loaded(NamedTuple):
    """`topology`: the streamparse Topology class. `app`: the name under which its state and offsets are kept."""

    topology: Any
    app: str
    path: Path
    sections: Sequence[Section]


def names(project: Project) -> list[str]:
    """Each Python file in the folder is a topology, as in streamparse."""
    if not project.topologies.is_dir():
        raise SettingsError(f'no folder {project.topologies} ("topology_specs" in {project.root / "config.json"})')
    return sorted(path.stem for path in project.topologies.glob("*.py") if not path.stem.startswith("_"))


def choose(project: Project, name: str | None) -> tuple[str, str]:
    """(topology, app). `name`: a topology, or, unlike all of them, another app of the main one.

    The main one is `main` of config.json, or the only one there is. Raises SettingsError.
    """
    known = names(project)
    if not known:
        raise SettingsError(
            f"no topology in {project.topologies}; write one, for example {project.topologies}/words.py"
        )
    if project.main is not None and project.main not in known:
        raise SettingsError(
            f'{project.root / FILE}: main: no topology "{project.main}"'
            f"{did_you_mean(project.main, dict.fromkeys(known))}; there are: {', '.join(known)}"
        )
    if name in known:
        return str(name), str(name)
    near = did_you_mean(name, dict.fromkeys(known)) if name and len(known) > 1 else ""
    main = known[0] if len(known) == 1 else project.main
    if main is None or near:
        told = f'no topology "{name}"{near}' if name else "several topologies, and config.json names no main one"
        raise SettingsError(f"{told}; say which with -n: {', '.join(known)}")
    return main, name or main


def load(project: Project, name: str | None) -> Loaded:
    """Import the chosen topology. Raises SettingsError: none, several, or one that cannot be imported or is faulty."""
    topology_name, app = choose(project, name)
    path = project.topologies / f"{topology_name}.py"
    module = _import(project, path)
    topology = _topology_class(module, path)
    chained(topology)
    check_group(topology)
    return Loaded(topology, app, path, _sections(topology, path))


def load_stored(project: Project, app: str, graph: str | None) -> Loaded:
    """The topology that an app in Redis was run from: the one whose fingerprint is `graph`, the stored one. If none is,
    they have changed since, and the main one is taken. None: nothing is stored; then as `load`."""
    from stormline.components.graph import graph_fingerprint

    if graph is None:
        return load(project, app)
    known = names(project)
    for name in sorted(known, key=lambda each: each != project.main):
        try:
            loaded = load(project, name)
        except SettingsError:
            if name == project.main:
                raise
            continue  # a faulty one need not be the one that is meant
        if graph_fingerprint(loaded.topology) == graph:
            return loaded._replace(app=app)
    if project.main is None:
        raise SettingsError(
            f'the app "{app}" was made by none of {", ".join(known)} as they are now: components, keys, windows or '
            'aggregates have changed since. Read it where its topology is, or name it as "main" in config.json'
        )
    return load(project, project.main)._replace(app=app)


def _import(project: Project, path: Path) -> Any:
    sources = str(project.root / "src")
    if sources not in sys.path:
        sys.path.insert(0, sources)
    spec = importlib.util.spec_from_file_location(f"topologies.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever user code raises is the user's to see, in one line with its place
        raise SettingsError(_where_it_failed(error, project, path)) from error
    return module


def _where_it_failed(error: Exception, project: Project, path: Path) -> str:
    """The innermost line of the user's own files that led to the error."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(Path(error.filename), project)}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    framework = Path(__file__).resolve().parents[1]
    mine = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(project.root)
        and not Path(frame.filename).is_relative_to(framework)
        and not Path(frame.filename).is_relative_to(project.root / ".venv")
    ]
    if isinstance(error, SettingsError):
        what = str(error)
    if not mine:
        return f"{_short(path, project)} cannot be imported: {what}"
    frame = mine[-1]
    if isinstance(error, SettingsError) and f"{frame.filename}:" in what:
        return what  # it was found where the class is made, and says so
    line = f"\n    {frame.line}" if frame.line else ""
    return f"{_short(Path(frame.filename), project)}, line {frame.lineno}: {what}{line}"


def _topology_class(module: Any, path: Path) -> Any:
    from streamparse import Topology

    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Topology) and value.__module__ == module.__name__
    ]
    if not own:
        raise SettingsError(f"{path.name} has no topology; it needs a class that derives from Topology")
    if len(own) > 1:
        raise SettingsError(
            f"{path.name} has {len(own)} topologies ({', '.join(each.__name__ for each in own)}); keep one a file"
        )
    return own[0]


def _sections(topology: Any, path: Path) -> Sequence[Section]:
    sections = getattr(topology, "summary", ())
    if not isinstance(sections, list | tuple) or not all(isinstance(each, Top | Rows) for each in sections):
        raise SettingsError(
            f"{path.name}: {topology.__name__}.summary must be a list of Top(...) and Rows(...), got {sections!r}"
        )
    known = {spec.name: spec for spec in topology.specs if is_keyed(spec)}
    faults = [
        f'{path.name}: {topology.__name__}.summary: no component with results is called "{each.component}"'
        f"{did_you_mean(each.component, known)}"
        for each in sections
        if each.component not in known
    ]
    if faults:
        raise SettingsError(*faults)
    return sections


def is_keyed(spec: Any) -> bool:
    """Whether the component keeps results by key and window."""
    return issubclass(getattr(spec, "component_cls", type), KeyedBolt)


def _short(path: Path, project: Project) -> str:
    return str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
