"""A process that starts workers as copies of itself and tells when one has ended.

It is forked from the process that runs the topology as soon as that has imported everything, before it has threads; so
workers start in milliseconds and share the memory of what is imported. It does nothing else, so that a worker can be
forked again at any time. When the process that runs the topology is gone, by whatever death, workers are killed.
"""

from __future__ import annotations

import gc
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stormline.core.errors import StormlineError
from stormline.engine.control import Channel, Exited, Start


def start_supervisor(work: Callable[[int], None], *, logs: Path, folder: Path) -> Channel:
    """Fork the supervisor. `work(number)` is what worker `number` does, in a process of its own; its stdout and stderr
    go to `worker-<number>.out` in `logs`. `folder` is the run's, and is removed at its end.

    Raises:
        StormlineError: this process has more than one thread, and a fork would copy only one.
    """
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise StormlineError(f"workers can only be forked before there are other threads; there are {names}")
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    gc.freeze()  # what is imported stays where it is: collections would write into each copy of it
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                _supervise(Channel(theirs), work, logs)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            status = 0
        except BaseException:  # whatever it is: nothing of the parent's own code may run on in this copy of it
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    return Channel(ours)


def _supervise(channel: Channel, work: Callable[[int], None], logs: Path) -> None:
    workers: dict[int, int] = {}
    ended_out, ended_in = os.pipe()
    os.set_blocking(ended_in, False)
    os.set_blocking(ended_out, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(ended_in, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    selector.register(ended_out, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is channel:
                said = channel.hear()
                if said is None:
                    for pid in workers:
                        os.kill(pid, signal.SIGKILL)
                    return
                for message in said:
                    if isinstance(message, Start):
                        inherited = (channel, ended_in, ended_out, selector)
                        workers[_fork_worker(message.worker, work, logs, inherited)] = message.worker
            else:
                os.read(ended_out, 4096)
                _reap(workers, channel)


def _reap(workers: dict[int, int], channel: Channel) -> None:
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            gone = Exited(workers.pop(pid), os.waitstatus_to_exitcode(status))
            with suppress(OSError):  # nobody to tell any more: the next hearing says so
                channel.say(gone)


def _fork_worker(
    number: int,
    work: Callable[[int], None],
    logs: Path,
    inherited: tuple[Channel, int, int, selectors.BaseSelector],
) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel, ended_in, ended_out, selector = inherited
        selector.close()
        channel.close()
        os.close(ended_in)
        os.close(ended_out)
        out = os.open(logs / f"worker-{number}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        work(number)
        status = 0
    except BaseException:  # it belongs into this worker's file, and the supervisor's code may not run on
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
