"""A project of its own for each test: the sources of this one, without its data directory."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("src", "topologies", "data", "config.json", "project.clj")

Sparse = Callable[..., subprocess.CompletedProcess[str]]


class Project:
    """A copy of the project in which `sparse` is called as its users do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / part)

    def slow(self) -> None:
        """Few records may be on their way at once, so that the job lasts long enough for what is to happen in it."""
        spout = self.root / "src" / "spouts" / "purchases.py"
        spout.write_text(spout.read_text() + "    max_pending = 2_000\n")

    def chain(self, *, together: bool = True) -> None:
        """The filter runs in the tasks of the spout, or (`together=False`) in its own again."""
        path = self.root / "topologies" / "purchases.py"
        forms = ["LargePurchases.spec(inputs=[purchases])", "LargePurchases.spec(inputs=[purchases], chain=True)"]
        before, after = forms if together else reversed(forms)
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    def start(self, *args: str, output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """`sparse ARGS` in a process group of its own."""
        return subprocess.Popen(
            self._command(args),
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def sparse(self, *args: str, within_s: float = 250) -> subprocess.CompletedProcess[str]:
        """`sparse ARGS` to its end; standard output and error apart."""
        return subprocess.run(
            self._command(args),
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
        )

    def _command(self, args: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "stormline.cli", *args]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.root / "src"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
