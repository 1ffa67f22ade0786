"""File descriptors which only this process may hold: its death must be seen by those at the other end.

They are close-on-exec, as all of Python's are, so no child program inherits them; and a forked child, which would
inherit them all the same, closes them first of all.
"""

from __future__ import annotations

import os

_held: set[int] = set()


def hold(fd: int) -> int:
    """Keep `fd` (close-on-exec already) out of forked children; returns it."""
    _held.add(fd)
    return fd


def is_held(fd: int) -> bool:
    """Whether `fd` was given to `hold` by this very process, and not released since."""
    return fd in _held


def release(fd: int) -> bool:
    """Close `fd`; False, and nothing done, if this process does not hold it (a forked child, or released before)."""
    if fd not in _held:
        return False
    _held.discard(fd)
    os.close(fd)
    return True


def _let_go_in_child() -> None:
    for fd in _held:
        os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
