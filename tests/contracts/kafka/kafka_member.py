"""A member of a consumer group, in a thread of its own."""

import threading
import time
from collections.abc import Callable
from typing import Any

WAIT_S = 60


class Member:
    """A group member: `open` in its own thread gives the consumer, `poll` its values and its partitions now."""

    def __init__(self, open_: Callable[[], Any], poll: Callable[[Any], tuple[list[bytes], set[int]]]) -> None:
        self.values: list[bytes] = []
        self.partitions: set[int] = set()
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, args=(open_, poll), daemon=True)
        self._thread.start()

    def _run(self, open_: Callable[[], Any], poll: Callable[[Any], tuple[list[bytes], set[int]]]) -> None:
        consumer = open_()
        while not self._is_closing:
            values, partitions = poll(consumer)
            with self._changed:
                self.values += values
                self.partitions = partitions
                self._changed.notify_all()
        consumer.close()

    def wait_for(self, is_so: Callable[["Member"], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: is_so(self), WAIT_S), (self.values, self.partitions)

    def close(self) -> None:
        self._is_closing = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def until_enough(poll: Callable[[], list[Any]], count: int) -> list[Any]:
    deadline = time.monotonic() + WAIT_S
    got: list[Any] = []
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} records came"
        got += poll()
    return got


def wait_until(is_so: Callable[[], bool]) -> None:
    """Ask again and again; the question is a request to a server, so this is no busy loop."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
