"""`python -m stormline.multilang module.Class`: a component's process, on the local worker. On a real one it is started
by `launch`, and enters here too.

Before the user's code is imported stdout is put aside for the messages, and descriptor 1 leads where stderr leads; so
nothing that is printed, not by C code either, gets between the messages.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any


def stdout_aside() -> int:
    """The descriptor that leads to Storm; from now on what is printed goes where stderr goes."""
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def component(target: str) -> Any:
    """The class `module.Class`. Raises whatever its module raises."""
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def serve(cls: Any, out: int) -> None:
    """Be a task of it; never returns."""
    if hasattr(cls, "make"):
        from stormline.multilang import loop

        loop.serve(cls.make(), out)
    else:
        from stormline.multilang import pystorm_pipe

        pystorm_pipe.run(cls, out)


def main() -> None:
    words = [word for argument in sys.argv[1:] for word in argument.split()]
    sys.path[:0] = [path for path in (os.path.join(os.getcwd(), "resources"), os.getcwd()) if os.path.isdir(path)]
    out = stdout_aside()
    try:
        serve(component(words[-1]), out)
    except Exception as error:  # whatever the user's code raises as it starts
        from stormline.multilang.traces import trim  # it asks where pystorm lies, which must be there by now

        trim(error)
        traceback.print_exception(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
