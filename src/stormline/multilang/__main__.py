"""`python -m stormline.multilang module.Class`: a component's process, on a real worker and on the local one.

Before the user's code is imported stdout is put aside for the messages, and descriptor 1 leads where stderr leads; so
nothing that is printed, not by C code either, gets between the messages.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from stormline.multilang.traces import trim


def main() -> None:
    words = [word for argument in sys.argv[1:] for word in argument.split()]
    target = words[-1]
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        _run(target, out)
    except Exception as error:  # whatever the user's code raises as it starts
        trim(error)
        traceback.print_exception(error)
        sys.exit(1)


def _run(target: str, out: int) -> None:
    sys.path[:0] = [path for path in (os.path.join(os.getcwd(), "resources"), os.getcwd()) if os.path.isdir(path)]
    module, _, name = target.rpartition(".")
    component = getattr(importlib.import_module(module), name)
    if hasattr(component, "make"):
        from stormline.multilang.loop import serve

        serve(component.make(), out)
    else:
        from stormline.multilang.pystorm_pipe import run

        run(component, out)


if __name__ == "__main__":
    main()
