"""A Python program of the project as a source of records for Kafka.

It has a function `rows(records, seed)` that gives (key, value, time in ms since the epoch), key and value as bytes,
and gives the same rows for the same arguments in every process: a feed that was killed goes on by counting them.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stormline.connectors.feed_file import Content, FedRow
from stormline.core.errors import SettingsError

FUNCTION = "rows"


class Program(NamedTuple):
    """A source of rows: the file, and the arguments of its function."""

    file: Path
    records: int
    seed: int

    def __str__(self) -> str:
        return f"{self.file} (records {self.records}, seed {self.seed})"

    def content(self) -> Content:
        """Imports the program. Raises SettingsError if that fails; `rows` does so for what it gives."""
        function = _function(self.file)
        return Content(self.records, lambda: self._rows(function))

    def _rows(self, function: Any) -> Iterator[FedRow]:
        number = 0
        try:
            for number, (key, value, time_ms) in enumerate(function(self.records, self.seed), 1):
                if type(key) is not bytes or type(value) is not bytes or type(time_ms) is not int:
                    raise TypeError(f"row {number} is {(key, value, time_ms)!r}; give (bytes, bytes, int)")
                if number > self.records:
                    break
                yield FedRow(number, key, value, time_ms)
        except Exception as error:  # whatever the user's code raises is the user's to see, with its place
            raise SettingsError(f"{_place(self.file, error)}: {type(error).__name__}: {error}") from error
        if number != self.records:
            gave = "more than" if number > self.records else f"{number} of"
            raise SettingsError(f"{self.file}: {FUNCTION} gave {gave} the {self.records} rows that it was asked for")


def fault_of(file: Path) -> str | None:
    """What is wrong with the program as it stands, without running it; None if it can be tried."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except (SyntaxError, ValueError) as error:
        return f"{file}, line {getattr(error, 'lineno', None) or 1}: {type(error).__name__}: {error}"
    if not any(isinstance(node, ast.FunctionDef) and node.name == FUNCTION for node in tree.body):
        return f"{file} has no function {FUNCTION}(records, seed)"
    return None


def _function(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"feed_program_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return getattr(module, FUNCTION)
    except Exception as error:  # as above
        raise SettingsError(f"{_place(file, error)}: {type(error).__name__}: {error}") from error


def _place(file: Path, error: Exception) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}, line {lines[-1]}" if lines else str(file)
