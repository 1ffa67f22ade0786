"""Settings of a run: the command line wins over the topology, the topology over the environment, that over defaults."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stormline.core.errors import SettingsError
from stormline.engine.topology import TopologySpec

WORKERS = "topology.workers"


def from_the_command_line(
    options: Sequence[str], *, workers: int | None, inline: bool, seed: int | None, multilang: bool, debug: bool
) -> dict[str, Any]:
    """`-o key=value` and the flags that are settings; values are read as YAML, as streamparse does.

    Raises SettingsError with every fault.
    """
    given, faults = {}, []
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key:
            faults.append(f"-o {option}: write it as key=value, for example -o topology.message.timeout.secs=60")
            continue
        try:
            given[key] = _yaml(value)
        except ValueError as error:
            faults.append(f"-o {option}: {error}")
    hostings = ["--inline"] * inline + ["--multilang"] * multilang + ["--workers"] * (workers is not None)
    if len(hostings) > 1:
        faults.append(f"{' and '.join(hostings)}: give one of them; each says where tasks live")
    if seed is not None and not inline:
        faults.append(f"--seed {seed} needs --inline: only in one thread can the order of things be drawn")
    if faults:
        raise SettingsError(*faults)
    if inline or multilang:
        given[WORKERS] = 1
    elif workers is not None:
        given[WORKERS] = workers
    if debug:
        given["topology.debug"] = True
    return given


def with_environment(topology: TopologySpec, environment: Mapping[str, Any]) -> TopologySpec:
    """The topology's own settings over those of the environment; without a number of workers, one for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return replace(topology, conf={WORKERS: cores, **environment, **topology.conf})


def of_a_run(name: str, logs: Path) -> dict[str, Any]:
    """What Storm tells a component of where and as what it runs."""
    return {
        "storm.id": f"{name}-1-{int(time.time())}",
        "storm.log.dir": str(logs),
        "storm.local.hostname": socket.gethostname(),
    }


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(f"{text!r} is no YAML value: {error}") from error
