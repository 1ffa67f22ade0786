"""The walls between the rooms, held by reading imports; and what ships to a worker."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stormline

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
ROOMS = {
    "core": {"core"},
    "connectors": {"connectors", "core"},
    "components": {"components", "core", "connectors"},
    "multilang": {"multilang", "components", "connectors", "core"},
    "engine": {"engine", "multilang", "components", "core"},
    "embedded": {"embedded", "core"},
    "cluster": {"cluster", "embedded", "core"},
    "testing": {"testing", "engine", "multilang", "components", "connectors", "core"},
}
EXCEPTIONS = {"hosted.py": {"multilang"}}
"""`Hosted.run` is how a launcher enters the message loop."""
CORE_MAY_IMPORT = {"msgspec", "stormline"}
CORE_EXCEPTIONS = {"sketches.py": {"datasketches"}}
"""An optional package, imported when a sketch is used."""
NO_TIME_NO_SOCKETS = {"time", "socket", "select", "threading", "asyncio", "os", "subprocess", "random", "secrets"}


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def files(folder: str) -> list[Path]:
    found = sorted((SRC / folder).rglob("*.py"))
    assert found, folder
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_know_only_the_rooms_below(room: str) -> None:
    """
    Dependencies between the rooms of the framework point one way.
    """
    for path in files(f"stormline/{room}"):
        for name in imports(path):
            if name.startswith("stormline."):
                known = ROOMS[room] | EXCEPTIONS.get(path.name, set())
                assert name.split(".")[1] in known, f"{path} imports {name}"


def test_the_core_is_an_island_without_time() -> None:
    """
    The rules import the standard library and msgspec, no client, no clock, no socket, no chance; sketches, theirs.
    """
    for path in files("stormline/core"):
        for name in imports(path):
            top = name.split(".")[0]
            allowed = CORE_MAY_IMPORT | CORE_EXCEPTIONS.get(path.name, set())
            assert top in allowed or top in sys.stdlib_module_names, f"{path} imports {name}"
            assert top not in NO_TIME_NO_SOCKETS, f"{path} imports {name}"
        assert not re.search(r"\.(now|today|utcnow)\(", path.read_text()), path


def test_only_connectors_and_the_broker_import_clients() -> None:
    """
    A client of Kafka or Redis is imported in `connectors`; the broker uses kafka-python's codecs, the command line asks
    Redis on its own.
    """
    for path in files("stormline"):
        room = path.relative_to(SRC / "stormline").parts[0]
        for name in imports(path):
            if name.split(".")[0] in {"kafka", "redis", "confluent_kafka"}:
                assert room in {"connectors", "embedded", "cli"}, f"{path} imports {name}"


@pytest.mark.parametrize("folder", ["spouts", "bolts"])
def test_the_application_imports_public_names_only(folder: str) -> None:
    """
    Spouts and bolts of the project know `stormline` and each other, not its rooms.
    """
    for path in files(folder):
        for name in imports(path):
            assert not name.startswith("stormline."), f"{path} imports {name}"


def test_the_framework_does_not_know_the_application() -> None:
    """
    Nothing in the framework imports a spout, a bolt or a topology of the project.
    """
    for path in files("stormline"):
        for name in imports(path):
            assert name.split(".")[0] not in {"spouts", "bolts", "topologies"}, f"{path} imports {name}"


def test_every_component_resolves_in_a_bare_copy_of_src(tmp_path: Path) -> None:
    """
    What a topology names can be imported where there is only what ships: `src/`, without the topologies.
    """
    scripts = []
    for topology in sorted((ROOT / "topologies").glob("*.py")):
        text = "import importlib.util as u, sys; s = u.spec_from_file_location('t', sys.argv[1])"
        text += "; m = u.module_from_spec(s); s.loader.exec_module(m); import streamparse"
        text += "; T = [c for c in vars(m).values() if isinstance(c, type)"
        text += " and issubclass(c, streamparse.Topology) and c is not streamparse.Topology]"
        text += "; [print(x.component_object.shell.script) for c in T for x in c.specs]"
        text += "; from stormline.components.chaining import chained"
        text += "; [print(x.component_cls.__module__ + '.' + x.component_cls.__name__) for c in T for x in chained(c)]"
        scripts += subprocess.run(
            [sys.executable, "-c", text, str(topology)],
            env={"PYTHONPATH": str(SRC)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    assert len(scripts) >= 5
    bare = tmp_path / "resources"
    subprocess.run(["cp", "-r", str(SRC), str(bare)], check=True)
    text = "import importlib, sys; [getattr(importlib.import_module(s.rpartition('.')[0]), s.rpartition('.')[2])"
    text += " for s in sys.argv[1:]]; import stormline; print(stormline.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", text, *scripts], cwd=bare, env={"PYTHONPATH": str(bare)}, capture_output=True, text=True
    )

    assert found.stdout.startswith(str(bare)), found.stderr


def test_the_reading_order_names_files_that_exist() -> None:
    """
    The numbered list in the package's docstring is a list of files.
    """
    named = re.findall(r"^ ?\d+\. (\S+)", stormline.__doc__ or "", re.MULTILINE)

    assert len(named) >= 10
    assert [] == [name for name in named if not (SRC / "stormline" / name).is_file()]


def test_public_names_are_these() -> None:
    """
    A name becomes public, or stops being so, on purpose; each can be looked up.
    """
    expected = """Topology KafkaSpout KafkaSink Message FilterBolt WindowBolt ProcessBolt Record FromKafka
    State Timer Cancel Forget tumbling sliding session count_window global_window calendar every Count Sum Min Max Mean
    Range WeightedMean AnyTrue AllTrue Variance StdDev Histogram First Last Collect Concat Distinct Quantiles TopK Rows
    Top Results Stored StormlineError SettingsError UserCodeError StateError ServerError"""

    assert sorted(expected.split()) == sorted(stormline.__all__)
    assert all(getattr(stormline, name) is not None for name in stormline.__all__)


def test_importing_the_package_is_light() -> None:
    """
    `import stormline` loads neither streamparse nor a client.
    """
    heavy = ("streamparse", "kafka", "redis", "msgspec", "datasketches")
    text = f"import sys, stormline; print([m for m in {heavy} if m in sys.modules])"
    env = {"PYTHONPATH": str(SRC)}
    found = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True)

    assert "[]" == found.stdout.strip(), found.stderr


def test_no_file_is_longer_than_400_lines() -> None:
    """
    A file is a box one can hold in the head, a file of tests too.
    """
    paths = {*SRC.rglob("*.py"), *(ROOT / "tests").rglob("*.py")}
    lines = {path: len(path.read_text().splitlines()) for path in paths}

    assert {Path(stormline.__file__), Path(__file__)} <= paths
    assert {} == {str(path): count for path, count in lines.items() if count > 400}


def test_tests_do_not_sleep() -> None:
    """
    Tests wait for conditions, never for time to pass.
    """
    pattern = re.compile(r"\b(time|asyncio)\.sleep\(")
    assert [] == [str(path) for path in (ROOT / "tests").rglob("*.py") if pattern.search(path.read_text())]
