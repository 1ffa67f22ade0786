"""The JAR: what is in it, that the same content gives the same bytes, and how a component is started from it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cluster.conftest import ROOT

from stormline.cluster import commands, jar, resolving
from stormline.core.errors import SettingsError

PACKAGE = ROOT / "src" / "stormline"
LAUNCH = PACKAGE / "multilang" / "launch.py"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A src/ of a project that has the framework installed, not in it."""
    src = tmp_path / "project" / "src"
    (src / "bolts" / "__pycache__").mkdir(parents=True)
    (src / "bolts" / "__pycache__" / "words.cpython-311.pyc").write_bytes(b"compiled")
    (src / "project.egg-info").mkdir()
    (src / "project.egg-info" / "PKG-INFO").write_text("installed")
    (src / "bolts" / "words.py").write_text(
        "class Words:\n    class Nested:\n        pass\n\ndef make():\n    class Made:\n        pass\n    return Made\n"
    )
    (src / "bolts" / "stop.txt").write_text("the a of")
    return src


def made(sources: Path, target: Path, wheels: Path | None = None, bundle: bytes | None = None) -> Path:
    jar.write(target, jar.content(sources, PACKAGE, wheels, bundle))
    return target


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as opened:
        return opened.namelist()


def test_the_same_content_gives_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    """Made of a copy elsewhere, whose files have other times and modes and were made in another order."""
    copy = tmp_path / "copy"
    for path in sorted(sources.rglob("*.*"), reverse=True):
        if path.is_file():
            (copy / path.relative_to(sources)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / path.relative_to(sources))
            os.utime(copy / path.relative_to(sources), (1, 10**9))
            (copy / path.relative_to(sources)).chmod(0o755)

    first, second = made(sources, tmp_path / "1.jar"), made(copy, tmp_path / "2.jar")

    assert first.read_bytes() == second.read_bytes()
    jar.write(tmp_path / "3.jar", {"b": b"1", "a": b"2"})
    jar.write(tmp_path / "4.jar", {"a": b"2", "b": b"1"})
    assert (tmp_path / "3.jar").read_bytes() == (tmp_path / "4.jar").read_bytes()


def test_all_of_src_ships_but_what_is_of_this_machine(sources: Path, tmp_path: Path) -> None:
    """Data files too; no compiled file, no egg-info; and the running framework, with its scripts for Redis."""
    found = names(made(sources, tmp_path / "words.jar"))

    assert {"resources/bolts/words.py", "resources/bolts/stop.txt", "META-INF/MANIFEST.MF"} <= set(found)
    assert {f"resources/{jar.LAUNCHER}", "resources/stormline/connectors/flush.lua"} <= set(found)
    assert [] == [name for name in found if "pycache" in name or ".pyc" in name or "egg-info" in name]


def test_the_framework_ships_once_if_it_lies_in_src(tmp_path: Path) -> None:
    """As in this repository."""
    found = names(made(ROOT / "src", tmp_path / "own.jar"))

    assert 1 == found.count(f"resources/{jar.LAUNCHER}")
    assert len(set(found)) == len(found)


def test_another_stormline_in_src_is_refused(sources: Path, tmp_path: Path) -> None:
    """What ships is the one that runs the command; the wheels' folder is not the project's either. Both are told."""
    (sources / "stormline").mkdir()
    (sources / "site-packages").mkdir()

    with pytest.raises(SettingsError) as caught:
        made(sources, tmp_path / "words.jar")

    told = "\n".join(caught.value.faults)
    assert f"{sources / 'stormline'} is not the package that runs this command" in told
    assert f"{sources / 'site-packages'} stands where the JAR has something of its own" in told


def test_links_are_followed_but_not_round_and_round(sources: Path, tmp_path: Path) -> None:
    """A link to a folder ships its files; one to a folder above it is refused."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "text.py").write_text("")
    (sources / "shared").symlink_to(shared)
    assert "resources/shared/text.py" in names(made(sources, tmp_path / "words.jar"))

    (shared / "again").symlink_to(shared)
    with pytest.raises(SettingsError, match="link to a folder above it"):
        made(sources, tmp_path / "words.jar")


def test_a_build_that_breaks_off_leaves_the_old_jar(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing beside it."""
    target = made(sources, tmp_path / "out" / "words.jar")
    before = target.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="no space left"):
        made(sources, target)

    assert [target] == list(target.parent.iterdir())
    assert before == target.read_bytes()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("bolts.words.Nested", "bolts.words has no Nested at its top; workers import a component by its name"),
        ("bolts.words.Made", "its class cannot be nested in another, or be made in a function"),
        ("topologies.words.Words", "its class Words is in topologies.words, which is not in src/"),
        (
            "bolts.needy.Needy",
            "bolts.needy needs pandas_of_nobody, which workers do not have; name its package in r.txt",
        ),
        ("bolts.broken.Broken", "bolts.broken cannot be imported from a copy of src/:"),
    ],
)
def test_a_component_that_workers_would_not_find_is_named(
    sources: Path, tmp_path: Path, target: str, told: str
) -> None:
    """Beside one that they find; with the reason, and what to do."""
    (sources / "bolts" / "needy.py").write_text("import pandas_of_nobody\n\nclass Needy:\n    pass\n")
    (sources / "bolts" / "broken.py").write_text("1 / 0\n")
    classes = {"words": "bolts.words.Words", "other": target}

    with pytest.raises(SettingsError) as caught:
        resolving.require_all(made(sources, tmp_path / "words.jar"), classes, alone=True, requirements="r.txt")

    (fault,) = caught.value.faults
    assert fault.startswith("other: ")
    assert told in fault


def test_components_are_tried_without_the_packages_of_this_machine(sources: Path, tmp_path: Path) -> None:
    """msgspec is installed here and not in the JAR: only a virtualenv of the workers could have it."""
    (sources / "bolts" / "typed.py").write_text("import msgspec\n\nclass Typed:\n    pass\n")
    path = made(sources, tmp_path / "words.jar")

    resolving.require_all(path, {"typed": "bolts.typed.Typed"}, alone=False, requirements="r.txt")
    with pytest.raises(SettingsError, match="bolts.typed needs msgspec"):
        resolving.require_all(path, {"typed": "bolts.typed.Typed"}, alone=True, requirements="r.txt")


def started(
    folder: Path, target: str, tmp_path: Path, python: str = sys.executable
) -> tuple[list[dict[str, str]], str]:
    """What a component's process answers to a handshake, started as Storm does; and its stderr."""
    handshake = json.dumps({"conf": {}, "context": {}, "pidDir": str(tmp_path)})
    done = subprocess.run(
        [python, commands.start(target)], cwd=folder, input=f"{handshake}\nend\n", capture_output=True, text=True
    )
    return [json.loads(text) for text in done.stdout.split("\nend\n") if text], done.stderr


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        ({"python": "3.99", "platform": None, "compiled": ["fast"]}, "the JAR has wheels for 3.99 (fast)"),
        (
            {"python": None, "platform": "sunos-sparc", "compiled": ["fast"]},
            "the JAR has wheels for sunos-sparc (fast)",
        ),
    ],
)
def test_a_worker_that_the_wheels_are_not_for_says_so_to_storm(
    sources: Path, tmp_path: Path, bundle: dict[str, object], told: str
) -> None:
    """By the protocol (its pid, then an error) and on stderr, which is in the worker's log."""
    folder = tmp_path / "resources"
    jar.unpack(made(sources, tmp_path / "words.jar", bundle=json.dumps(bundle).encode()), folder)

    (pid, error), stderr = started(folder, "bolts.words.Words", tmp_path)

    assert (tmp_path / str(pid["pid"])).exists()
    assert "error" == error["command"]
    assert told in error["msg"]
    assert told in stderr


def test_an_error_of_the_users_module_reaches_storm(sources: Path, tmp_path: Path) -> None:
    """The traceback, as an error of the component; what the module printed does not get in between."""
    (sources / "bolts" / "broken.py").write_text("print('loading')\n1 / 0\n")
    folder = tmp_path / "resources"
    jar.unpack(made(sources, tmp_path / "words.jar"), folder)

    (_, error), stderr = started(folder, "bolts.broken.Broken", tmp_path)

    assert 'bolts/broken.py", line 2' in error["msg"]
    assert "ZeroDivisionError" in error["msg"]
    assert "loading" in stderr


def test_an_old_python_can_read_the_launcher_and_is_refused_by_it(tmp_path: Path) -> None:
    """Down to 3.6; each older than 3.11 is told which is needed, and how to name it."""
    ast.parse(LAUNCH.read_text(), feature_version=(3, 6))
    text = f"import runpy; m = runpy.run_path({str(LAUNCH)!r}); m['unfit'].__globals__['OLDEST'] = (9, 9)"
    said = subprocess.run([sys.executable, "-c", f"{text}; print(m['unfit']('.'))"], capture_output=True, text=True)

    assert "and Stormline needs 9.9 or newer" in said.stdout
    assert '"python": "/usr/bin/python9.9"' in said.stdout


def test_what_ships_wins_over_what_the_worker_has(tmp_path: Path) -> None:
    """src/ before all; the wheels behind Python's own modules and before installed packages."""
    (tmp_path / "site-packages").mkdir()
    text = f"import runpy, sys; runpy.run_path({str(LAUNCH)!r})['ship']({str(tmp_path)!r}); print(*sys.path, sep='\\n')"
    path = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.splitlines()

    assert str(tmp_path) == path[0]
    at = path.index(str(tmp_path / "site-packages"))
    standard = [index for index, each in enumerate(path) if each.endswith(f"python3.{sys.version_info.minor}")]
    installed = [index for index, each in enumerate(path) if each.endswith("site-packages") and index != at]
    assert max(standard) < at < min(installed)
