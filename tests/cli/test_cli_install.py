"""`./sparse` before there is a .venv: which Python, what is installed, and that it repairs itself.

The script is run with Pythons that are a few lines of shell, the installer with a package made here: no network.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 250

FAKE_PYTHON = """#!/bin/sh
case $1 in
    -c) echo {version}; exit 0 ;;
    -I) echo "{name} installs $3: $4" >>"$LOG"; [ -n "$FAILS" ] && exit 3 ;;
    *) echo "exec $*"; pwd; exit 0 ;;
esac
mkdir -p .venv/bin && cp "$0" .venv/bin/python
echo "$4 {version}${{SPARSE_PYTHON:+ by $SPARSE_PYTHON}}" >.venv/run.stamp
"""


class Machine:
    """A checkout, and a PATH on which there are only the Pythons that are put there."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "check out"
        self.bin = directory / "bin"
        self.log = directory / "log"
        (self.root / "requirements").mkdir(parents=True)
        self.pins = self.root / "requirements" / "run.txt"
        self.pins.write_text("click==8.5.1\n")
        (self.root / "src" / "stormline" / "cli").mkdir(parents=True)
        shutil.copy(ROOT / "sparse", self.root)
        shutil.copy(ROOT / "src" / "stormline" / "cli" / "install.py", self.root / "src" / "stormline" / "cli")
        self.bin.mkdir()
        for tool in ("cksum", "mkdir", "cp"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def python(self, name: str, version: str) -> Path:
        path = self.bin / name
        path.write_text(FAKE_PYTHON.format(name=name, version=version))
        path.chmod(0o755)
        return path

    def sparse(self, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "sparse"), *arguments],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), "LOG": str(self.log), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def installations(self) -> list[str]:
        """One line for each time that the installer was called."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_with_python_3_10_only_is_told_what_to_install(machine: Machine) -> None:
    """The version found and where, the version needed, how to get it; exit code not 0, nothing made."""
    path = machine.python("python3", "3.10.4")
    ended = machine.sparse("run")
    assert ended.returncode == 1
    assert f"needs Python 3.11 or newer; found Python 3.10.4 ({path})" in ended.stderr
    assert "apt install python3.11" in ended.stderr
    assert not (machine.root / ".venv").exists()


def test_a_machine_without_python_is_told_so(machine: Machine) -> None:
    """No Python at all is told in the same words."""
    ended = machine.sparse("run")
    assert (ended.returncode, "found none" in ended.stderr) == (1, True)


def test_a_newer_python_beside_an_old_one_is_found(machine: Machine) -> None:
    """python3 is 3.10, python3.12 is there as well: that one is taken."""
    machine.python("python3", "3.10.4")
    machine.python("python3.12", "3.12.1")
    assert machine.sparse("run").returncode == 0
    assert [line.split()[0] for line in machine.installations()] == ["python3.12"]


def test_sparse_python_wins_and_is_not_replaced_by_another(machine: Machine) -> None:
    """The Python named by SPARSE_PYTHON is taken; if it is too old, that is said, and no other is tried."""
    machine.python("python3", "3.11.2")
    machine.python("python3.12", "3.12.1")
    machine.python("mine", "3.13.0")
    machine.python("old", "3.9.1")
    assert machine.sparse("run", SPARSE_PYTHON="mine").returncode == 0
    assert [line.split()[0] for line in machine.installations()] == ["mine"]
    assert "found Python 3.9.1" in machine.sparse("run", SPARSE_PYTHON="old").stderr
    assert "no Python at SPARSE_PYTHON=absent" in machine.sparse("run", SPARSE_PYTHON="absent").stderr


def test_the_second_call_installs_nothing_and_hands_all_arguments_over(machine: Machine, tmp_path: Path) -> None:
    """From any directory: the command line gets the arguments as they were, in the directory of the script."""
    machine.python("python3", "3.11.2")
    machine.sparse("run")
    ended = machine.sparse("results", "a b", "", cwd=tmp_path)
    assert ended.stdout.splitlines() == ["exec -P -m stormline.cli results a b ", str(machine.root)]
    assert len(machine.installations()) == 1


def test_a_changed_pin_and_an_interrupted_installation_install_again(machine: Machine) -> None:
    """The stamp holds the checksum of the pins and is written last: another checksum or no stamp means again."""
    machine.python("python3", "3.11.2")
    machine.sparse("run")
    machine.pins.write_text("click==8.5.2\n")
    machine.sparse("run")
    assert len(set(machine.installations())) == 2
    (machine.root / ".venv" / "run.stamp").unlink()
    machine.sparse("run")
    assert len(machine.installations()) == 3
    (machine.root / ".venv" / "bin" / "python").unlink()  # the machine's Python was upgraded
    machine.sparse("run")
    assert len(machine.installations()) == 4


def test_an_installation_that_fails_ends_the_call_with_its_code(machine: Machine) -> None:
    """Nothing is run with half of the packages."""
    machine.python("python3", "3.11.2")
    ended = machine.sparse("run", FAILS="1")
    assert (ended.returncode, ended.stdout) == (3, "")


def wheel(directory: Path, name: str, *, script: str | None = None) -> Path:
    """A package with one module, and perhaps a console script."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "def main(): print('of the other package')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    if script is not None:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:main\n"
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for each, content in files.items():
            file.writestr(each, content)
    return path


def installer(machine: Machine, name: str = "run", pins: str = "1 1") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "src/stormline/cli/install.py", name, pins],
        cwd=machine.root,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_projects_sparse_wins_over_that_of_a_package(machine: Machine, tmp_path: Path) -> None:
    """A pinned package installs a script `sparse`, as streamparse does: the one in .venv/bin is the project's all the
    same. What was left of an interrupted installation is gone, and nothing is done a second time."""
    machine.pins.write_text(f"# pins\n{wheel(tmp_path, 'other', script='sparse')}\n{wheel(tmp_path, 'third')}\n")
    (machine.root / "src" / "stormline" / "cli" / "__main__.py").write_text("print('of the project')\n")
    leftover = machine.root / ".venv" / "lib" / "leftover"
    leftover.mkdir(parents=True)
    first = installer(machine)
    told = first.communicate(timeout=LIMIT_S)[1]
    assert first.returncode == 0, told
    assert "installing 2 packages into .venv" in told
    assert not leftover.exists()
    for script in ("sparse", "stormline"):
        ended = subprocess.run(
            [machine.root / ".venv" / "bin" / script], capture_output=True, text=True, env={}, timeout=LIMIT_S
        )
        assert ended.stdout == "of the project\n"
    stamp = machine.root / ".venv" / "run.stamp"
    assert stamp.read_text().split()[:2] == ["1", "1"]
    second = installer(machine)
    assert (second.communicate(timeout=LIMIT_S)[1], second.returncode) == ("", 0)


def test_packages_that_cannot_be_had_leave_no_stamp(machine: Machine) -> None:
    """The message of pip, what to do, exit code 1; the next call begins again."""
    machine.pins.write_text("stormline-no-such-package==1.0\n")
    ended = installer(machine)
    told = ended.communicate(timeout=LIMIT_S)[1]
    assert ended.returncode == 1
    assert "stormline-no-such-package" in told
    assert "error: pip could not install the packages" in told
    assert not (machine.root / ".venv" / "run.stamp").exists()


def test_of_two_calls_at_the_same_time_one_waits(machine: Machine, tmp_path: Path) -> None:
    """While another holds the lock the installer says that it waits; then it goes on."""
    machine.pins.write_text(f"{wheel(tmp_path, 'third')}\n")
    (machine.root / ".stormline").mkdir()
    with open(machine.root / ".stormline" / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = installer(machine)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "sparse: waiting for another installation into .venv to end\n"
        assert not (machine.root / ".venv").exists()
    waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 0


def test_the_installer_imports_the_standard_library_only() -> None:
    """It runs when nothing is installed yet."""
    tree = ast.parse((ROOT / "src" / "stormline" / "cli" / "install.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_the_pins_are_complete_and_the_projects_sparse_is_installed() -> None:
    """In the project's own .venv nothing that a package needs is missing, and `sparse` is not streamparse's."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the tests in .venv, not in {sys.prefix}")
        pytest.skip(f"these tests run in {sys.prefix}, not in the project's .venv: use ./sparse test")
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=LIMIT_S)
    assert check.returncode == 0, check.stdout
    told = subprocess.run([ROOT / ".venv/bin/sparse", "--help"], capture_output=True, text=True, timeout=LIMIT_S)
    assert "Kafka in, windows by key" in told.stdout
