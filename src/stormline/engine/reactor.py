"""How a worker waits: for calls posted by other threads, for file descriptors, and for time to pass."""

from __future__ import annotations

import os
import selectors
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stormline.engine.hosts import TaskHost

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Caller(Protocol):
    """Runs a call on behalf of a task, or of the worker itself (None)."""

    def __call__(self, host: TaskHost | None, call: Callable[[], None]) -> None: ...


class Reactor:
    """All methods but `post` belong to the worker's own thread."""

    def __init__(self, call: Caller) -> None:
        self.call = call
        self.posted: deque[tuple[TaskHost | None, Callable[[], None]]] = deque()
        """Posted calls, each with the incarnation that posted it; None: the worker's own."""
        self._selector = selectors.DefaultSelector()
        self._resting = False
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._selector.register(self._wake_out, READ, None)
        # A worker that has crashed closes nothing; its descriptors go with it all the same.
        self._close = weakref.finalize(self, _close, self._selector, self._wake_out, self._wake_in)
        self._close.atexit = False
        self.watches = 0
        """File descriptors watched."""

    def post(self, host: TaskHost | None, call: Callable[[], None]) -> None:
        """Run `call` between two steps, soon. For any thread, and for signal handlers."""
        self.posted.append((host, call))
        if self._resting:
            self._wake()

    def watch(self, fd: int, on_ready: Callable[[], None], *, write: bool = False) -> None:
        """Call `on_ready` whenever `fd` is ready; one callback for each direction."""
        event = WRITE if write else READ
        known = self._selector.get_map().get(fd)
        if known is None:
            self._selector.register(fd, event, {event: on_ready})
            self.watches += 1
        else:
            self._selector.modify(fd, known.events | event, {**known.data, event: on_ready})

    def unwatch(self, fd: int, *, write: bool = False) -> None:
        """Before the file descriptor is closed."""
        event = WRITE if write else READ
        known = self._selector.get_map()[fd]
        left = {direction: call for direction, call in known.data.items() if direction != event}
        if left:
            self._selector.modify(fd, known.events & ~event, left)
        else:
            self._selector.unregister(fd)
            self.watches -= 1

    def poll(self) -> bool:
        """Serve the file descriptors that are ready now."""
        return bool(self.watches) and self._serve(0)

    def rest(self, seconds: float | None) -> None:
        """Wait until something is posted or ready, at most so long; then serve what is ready."""
        self._resting = True
        try:
            if self.posted:
                return
            self._serve(seconds)
        finally:
            self._resting = False

    def close(self) -> None:
        self._close()

    def _serve(self, seconds: float | None) -> bool:
        served = False
        for key, events in self._selector.select(seconds):
            if key.data is None:
                self._drain()
                continue
            for event in (READ, WRITE):
                on_ready = self._still_watched(key, event) if events & event else None
                if on_ready is not None:
                    served = True
                    on_ready()
        return served

    def _still_watched(self, key: selectors.SelectorKey, event: int) -> Callable[[], None] | None:
        """A callback before it may have ended the watch, or closed the file and had its number given to another."""
        now = self._selector.get_map().get(key.fd)
        before: Any = key.data.get(event)
        return before if now is not None and now.data.get(event) is before else None

    def _wake(self) -> None:
        try:
            os.write(self._wake_in, b"!")
        except (BlockingIOError, OSError):
            return  # it is full: the worker wakes anyway; or the worker has closed

    def _drain(self) -> None:
        try:
            os.read(self._wake_out, 4096)
        except BlockingIOError:
            return


def _close(selector: selectors.BaseSelector, *descriptors: int) -> None:
    selector.close()
    for descriptor in descriptors:
        os.close(descriptor)
