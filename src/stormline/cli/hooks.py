"""`pre_submit` and `post_submit` of the project's tasks.py and fabfile.py, as streamparse calls them."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stormline.core.errors import SettingsError, UserCodeError

FILES = ("tasks.py", "fabfile.py")


def load(root: Path) -> list[Any]:
    """The modules that there are. Raises SettingsError for one that cannot be imported."""
    found = []
    for path in (root / file for file in FILES if (root / file).is_file()):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever the user's file raises
            raise SettingsError(f"{path}: cannot be imported for its hooks: {type(error).__name__}: {error}") from error
        found.append(module)
    return found


def call(
    modules: Sequence[Any], hook: str, name: str, environment: str, settings: Mapping[str, Any], options: dict[str, Any]
) -> None:
    """Call the hook where there is one; what it changes in `options` counts. Raises UserCodeError."""
    for module in modules:
        function = getattr(module, hook, None)
        if callable(function):
            try:
                function(name, environment, settings, options)
            except Exception as error:  # the user's to see, with its place
                frame = traceback.extract_tb(error.__traceback__)[-1]
                raise UserCodeError(
                    f"{hook} of {module.__file__} failed ({frame.filename}, line {frame.lineno}): "
                    f"{type(error).__name__}: {error}"
                ) from error
