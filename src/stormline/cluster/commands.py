"""A topology as Nimbus gets it: a copy of the Thrift structure, each component with the command that starts it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

from stormline.cluster.jar import LAUNCHER
from stormline.core.errors import SettingsError

STOCK_LAUNCHER: Final = "streamparse_run"
FRAME: Final = 1_048_576
"""Nimbus's `nimbus.thrift.max_buffer_size`, as it is by default."""
_LEAVE: Final = 4_096
"""For the name and the place of the JAR, in the same frame."""


def start(target: str) -> str:
    """The one argument by which Python starts `module.Class` in the folder of an unpacked JAR.

    Storm passes a command and one argument, and unpacks without the executable bit: no script could be called, and no
    file be named with an argument behind it.
    """
    return f'-cfrom runpy import run_path; run_path("{LAUNCHER}")["run"]("{target}")'


def target(shell: Any) -> str | None:
    """`module.Class` of a component in Python, or None for a shell component of another language, or one in Java."""
    if shell is None or shell.execution_command.rpartition("/")[2] != STOCK_LAUNCHER:
        return None
    return str(shell.script.split()[-1])


def components(topology: Any) -> dict[str, Any]:
    """Name -> the Thrift structure of each spout and bolt of a StormTopology."""
    return {**topology.spouts, **topology.bolts}


def shell_of(component: Any) -> Any:
    """The ShellComponent of a spout or bolt, or None: Java."""
    return (getattr(component, "spout_object", None) or component.bolt_object).shell


def for_environment(topology: Any, environment: str) -> Any:
    """A copy of a StormTopology, parallelism as for this environment. Raises SettingsError for every component that
    says none for it."""
    made = copy.deepcopy(topology)
    faults = []
    for name, component in components(made).items():
        hint = component.common.parallelism_hint
        if isinstance(hint, dict) and environment not in hint:
            faults.append(
                f"{name}: par names the environments {', '.join(sorted(hint))}, but this is {environment}; add it"
            )
        elif isinstance(hint, dict):
            component.common.parallelism_hint = hint[environment]
    if faults:
        raise SettingsError(*faults)
    return made


def set_commands(topology: Any, *, python: str | None, stock: str | None = None) -> None:
    """Let every component in Python be started by `python` with the launcher in the JAR. If that is None, the JAR has
    none: by streamparse's own, which is at `stock` or on the workers' PATH."""
    for component in components(topology).values():
        shell = shell_of(component)
        found = target(shell)
        if found is not None and python is not None:
            shell.execution_command, shell.script = python, start(found)
        elif found is not None and stock is not None:
            shell.execution_command = stock


def require_small(topology: Any, conf: Mapping[str, Any]) -> None:
    """Raises SettingsError if Nimbus could not take topology and configuration in one frame; it would hang up."""
    from thriftpy2.utils import serialize

    sizes = {key: len(json.dumps(value)) for key, value in conf.items()}
    common = {
        f"the config of {name}": len(component.common.json_conf or "")
        for name, component in components(topology).items()
    }
    total = len(json.dumps(dict(conf)).encode()) + len(serialize(topology)) + _LEAVE
    if total > FRAME:
        largest = sorted((sizes | common).items(), key=lambda item: -item[1])[:3]
        raise SettingsError(
            f"the topology with its configuration has {total:,} bytes, and Nimbus takes {FRAME:,} at once. The "
            "largest: "
            + ", ".join(f"{name} ({size:,} bytes)" for name, size in largest)
            + ". Put large data into files of src/, or where workers can fetch it"
        )
