"""A child process on a multilang pipe: its start, its pipes, its death. It knows frames, not what is in them.

All reading and writing is non-blocking and driven by the host. What is sent waits here while the pipe is full; stderr
is read all the time; so parent and child never wait for each other.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from stormline.components.host import Host
from stormline.core.errors import Died

END = b"\nend\n"
CHUNK = 1 << 18
MOST_FRAME = 1 << 27
"""Bytes of one message; more can only be garbage."""
DIES_WITHIN_S = 0.5
"""After the end of its stdout, before it is killed."""
KEPT_STDERR = 4_000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """Runs `argv` in `cwd`, in a process group of its own, and dies with this process.

    `on_frame` is called for each message, `on_line` for each line of stderr. Raises Died, from here or out of a
    callback of the host's, when the process is gone or speaks no multilang; it has been killed then.
    """

    def __init__(
        self,
        host: Host,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_frame: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> None:
        self._host = host
        self._on_frame = on_frame
        self._on_line = on_line
        self._name = " ".join(argv)
        self._urgent: deque[bytes] = deque()
        self._waiting: deque[bytes] = deque()
        self._chunk: memoryview | bytes = b""
        self._flushing = False
        self._blocked = False
        self._in = b""
        self._line = b""
        self._stderr_tail = b""
        parent = os.getpid()
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=env,
                bufsize=0,
                start_new_session=True,
                preexec_fn=None if _libc is None else lambda: _end_with(parent),
            )
        except OSError as error:
            raise Died(f"cannot start {self._name!r} in {cwd}: {error}") from error
        self._stdin, self._stdout, self._stderr = (
            cast(IO[bytes], stream).fileno()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for fd in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(fd, False)
        self._finalizer = weakref.finalize(self, _kill, self._process)
        host.watch(self._stdout, self._read)
        host.watch(self._stderr, self._read_stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def waiting(self) -> int:
        """Messages that the pipe has not taken yet."""
        return len(self._waiting)

    def send(self, message: bytes, *, urgent: bool = False, later: bool = False) -> None:
        """Send a frame soon, with others in one write; an urgent one overtakes what waits. `later`: with the next that
        is sent, or at `flush_soon`."""
        (self._urgent if urgent else self._waiting).append(message)
        if not later:
            self.flush_soon()

    def flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._host.post(self._flush)

    def press(self, most: int) -> None:
        """Serve this child alone until at most `most` messages wait: the back pressure of a full pipe.

        Its callbacks are called from in here. Other tasks stand still meanwhile, but this child only needs its own
        pipes served to go on.
        """
        self._flush()
        poll = select.poll()
        poll.register(self._stdin, select.POLLOUT)
        poll.register(self._stdout, select.POLLIN)
        poll.register(self._stderr, select.POLLIN)
        while len(self._waiting) > most:
            ready = dict(poll.poll(100))
            if not ready:
                return  # the heartbeat of the host's timers tells whether it is alive
            if self._stderr in ready:
                self._read_stderr()
            if self._stdout in ready:
                self._read()
            if self._stdin in ready:
                self._flush()

    def died(self, why: str) -> Died:
        """End the process, whatever state it is in; the error to raise, with the end of its stderr."""
        if self._finalizer.alive:
            self._take_stderr()
            if self._line:
                self._on_line(self._line.decode(errors="replace"))
            for fd, write in ((self._stdout, False), (self._stderr, False), (self._stdin, True)):
                self._host.unwatch(fd, write=write)
            self._finalizer()
        tail = self._stderr_tail.decode(errors="replace").strip()
        return Died(
            f"{self._name!r} (process {self.pid}) {why}" + (f"; the end of its stderr:\n{tail}" if tail else "")
        )

    def close(self) -> None:
        """The orderly end: its stdin ends, and it has a moment to follow."""
        if self._finalizer.alive:
            for fd, write in ((self._stdout, False), (self._stderr, False), (self._stdin, True)):
                self._host.unwatch(fd, write=write)
            cast(IO[bytes], self._process.stdin).close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(DIES_WITHIN_S)
            self._finalizer()

    def _flush(self) -> None:
        self._flushing = False
        while self._finalizer.alive:
            if not self._chunk:
                if not self._urgent and not self._waiting:
                    self._watch_stdin(False)
                    return
                self._chunk = memoryview(self._next_chunk())
            try:
                self._chunk = self._chunk[os.write(self._stdin, self._chunk) :]
            except BlockingIOError:
                self._watch_stdin(True)
                return
            except BrokenPipeError:
                self._chunk = b""
                self._urgent.clear()
                self._waiting.clear()  # the end of its stdout tells the rest
                self._watch_stdin(False)
                return

    def _next_chunk(self) -> bytes:
        parts = list(self._urgent)
        self._urgent.clear()
        size = 0
        while self._waiting and size < 65_536:
            parts.append(self._waiting.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    def _watch_stdin(self, blocked: bool) -> None:
        if blocked != self._blocked:
            self._blocked = blocked
            if blocked:
                self._host.watch(self._stdin, self._flush, write=True)
            else:
                self._host.unwatch(self._stdin, write=True)

    def _read(self) -> None:
        if not self._finalizer.alive:
            return
        try:
            data = os.read(self._stdout, CHUNK)
        except BlockingIOError:
            return
        if not data:
            raise self._ended()
        *frames, self._in = (self._in + data).split(END)
        for frame in frames:
            self._on_frame(frame)
            if not self._finalizer.alive:
                return
        start = self._in.lstrip()[:1]
        if (start and start not in b"{[") or len(self._in) > MOST_FRAME:
            line = self._in.lstrip()
            if b"\n" in line or len(line) > 4096:
                raise self.garbage(line)

    def garbage(self, frame: bytes) -> Died:
        """The error for something on stdout that is no message."""
        line = frame.strip().split(b"\n", 1)[0][:200].decode(errors="replace")
        return self.died(
            f"wrote to its stdout what is no multilang message: {line!r}; stdout belongs to Storm: print to stderr, or "
            "log (a Python component is started by stormline.multilang, which sees to that)"
        )

    def _ended(self) -> Died:
        try:
            code = self._process.wait(DIES_WITHIN_S)
        except subprocess.TimeoutExpired:
            return self.died("closed its stdout, and did not end")
        how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        left = self._in.strip()
        return self.died(how + (f" after writing {left[:200].decode(errors='replace')!r}" if left else ""))

    def _read_stderr(self) -> None:
        if self._finalizer.alive and not self._take_stderr(most=1):
            self._host.unwatch(self._stderr)

    def _take_stderr(self, most: int = 16) -> bool:
        """False at its end."""
        for _ in range(most):
            try:
                data = os.read(self._stderr, 65_536)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._stderr_tail = (self._stderr_tail + data)[-KEPT_STDERR:]
            *lines, self._line = (self._line + data).split(b"\n")
            if len(self._line) > 65_536:
                lines, self._line = [*lines, self._line], b""
            for line in lines:
                self._on_line(line.decode(errors="replace"))
        return True


class LogGate:
    """Lets a task's lines through, at most so many a second; the others are counted, and the count is told."""

    def __init__(self, host: Host, most: int = 500) -> None:
        self._host = host
        self._most = most
        self._second = 0
        self._lines = 0

    def log(self, level: int, line: str) -> None:
        second = int(time.monotonic())
        if second != self._second:
            if self._lines > self._most:
                self._host.log(30, f"... {self._lines - self._most:,} lines more within a second, left out")
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= self._most:
            self._host.log(level, line if len(line) <= 8_000 else f"{line[:8_000]}... ({len(line):,} characters)")


def _end_with(parent: int) -> None:
    """In the child: SIGKILL when the thread that started it ends."""
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group, and no zombie is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()
