"""Starts a component on a worker, from the unpacked JAR. Any Python from 3.6 on must be able to read this file.

Storm hands a component's process two arguments, so the second one holds all of it; see `stormline.cluster.commands`:

    python3 '-cfrom runpy import run_path; run_path("stormline/multilang/launch.py")["run"]("module.Class")'
"""

import json
import os
import platform
import sys
import traceback

OLDEST = (3, 11)
WHEELS = "site-packages"
"""The folder of the JAR's wheels, beside the project's own modules."""
BUNDLE = "stormline-bundle.json"
"""In the JAR: `python`, `platform` (null where any will do) and `compiled`, the packages for which it matters."""


def run(target: str) -> None:
    """Be a task of `module.Class`; never returns."""
    root = os.getcwd()
    fault = unfit(root)
    if fault:
        refuse(fault, 1)
    ship(root)
    from stormline.multilang.__main__ import component, serve, stdout_aside

    out = stdout_aside()
    try:
        found = component(target)
    except Exception as error:  # whatever the user's module raises ends the process, and Storm is told first
        refuse(told(error), out)
    try:
        serve(found, out)
    except Exception as error:  # Storm's words to it are read already: what is told is in the worker's log
        sys.stderr.write(told(error))
        os._exit(1)


def told(error: Exception) -> str:
    """The traceback; the user's part of it, if that can be told apart."""
    try:
        from stormline.multilang.traces import trim

        trim(error)
    except AssertionError:  # there is no pystorm
        pass
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def check(targets: "list[str]") -> None:
    """Print, as one JSON object, what keeps each class from being found here: the type of the error, the module that is
    missing, and the traceback; null if nothing does."""
    ship(os.getcwd())
    from stormline.multilang.__main__ import component, stdout_aside

    out = stdout_aside()
    found: dict[str, object] = {}
    for target in targets:
        try:
            component(target)
            found[target] = None
        except Exception as error:  # told by the one who asked
            found[target] = [type(error).__name__, getattr(error, "name", None), traceback.format_exc()]
    os.write(out, json.dumps(found).encode())


def ship(root: str) -> None:
    """The project's modules before all others, the wheels before the packages that the worker has installed."""
    here = [path for path in sys.path if path not in ("", root)]
    installed = [path for path in here if os.path.basename(path) in ("site-packages", "dist-packages")]
    standard = [path for path in here if path not in installed]
    wheels = os.path.join(root, WHEELS)
    sys.path[:] = [root, *standard, *([wheels] if os.path.isdir(wheels) else []), *installed]


def unfit(root: str) -> "str | None":
    """What is wrong with this Python, or None."""
    has = ".".join(map(str, sys.version_info[:2]))
    this = f"the Python of this worker is {has} ({sys.executable} on {platform.node()})"
    if sys.version_info < OLDEST:
        needed = ".".join(map(str, OLDEST))
        return (
            f"{this}, and Stormline needs {needed} or newer. Install one on the workers, and name it in the "
            f'environment of config.json, as "python": "/usr/bin/python{needed}"; then submit again'
        )
    try:
        with open(os.path.join(root, BUNDLE)) as file:
            made = json.load(file)
    except OSError:  # a JAR without wheels
        return None
    compiled = ", ".join(made["compiled"])
    if made["python"] not in (None, has):
        return (
            f"{this}, and the JAR has wheels for {made['python']} ({compiled}). Say "
            f'"python_version": "{has}" in the environment of config.json and submit again, or name a Python '
            f'{made["python"]} of the workers there, as "python"'
        )
    machine = f"{sys.platform}-{platform.machine()}"
    if made["platform"] not in (None, machine):
        return (
            f"this worker ({platform.node()}) is {machine}, and the JAR has wheels for {made['platform']} "
            f'({compiled}). Say in the environment of config.json what the workers are, as "python_platform": '
            f'"linux_{platform.machine()}", and submit again'
        )
    return None


def refuse(fault: str, out: int) -> None:
    """Tell Storm, by the protocol and in the worker's log, and end. `out`: the descriptor that leads to Storm."""
    sys.stderr.write(f"stormline: {fault}\n")
    sys.stderr.flush()
    try:
        handshake = json.loads("".join(iter(sys.stdin.readline, "end\n")))
        open(os.path.join(handshake["pidDir"], str(os.getpid())), "a").close()
        for message in ({"pid": os.getpid()}, {"command": "error", "msg": fault}):
            os.write(out, (json.dumps(message) + "\nend\n").encode())
    except (OSError, ValueError, KeyError):
        pass  # no Storm at the other end: stderr has said it
    os._exit(1)
