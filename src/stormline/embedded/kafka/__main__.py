"""The command line: `python -m stormline.embedded.kafka --directory DIR [--port PORT] [--ready-fd FD]`.

Exit codes: 0 stopped by SIGTERM or SIGINT; 1 the disk could not be synced; 2 it could not start.
"""

import argparse
import fcntl
import importlib.util
import os
import resource
import signal
import sys
import types
from pathlib import Path

from stormline.embedded.kafka.errors import DamagedError, tell


def main() -> int:
    """Run the broker until a signal stops it."""
    parser = argparse.ArgumentParser(prog="python -m stormline.embedded.kafka", description="A Kafka for development.")
    parser.add_argument("--directory", type=Path, required=True, help="where all is kept; made if it is not there")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 (the default) takes a free one")
    parser.add_argument("--ready-fd", type=int, default=1, help="where to write the port when listening (1: stdout)")
    options = parser.parse_args()
    try:
        options.directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(options.directory / "lock", os.O_RDWR | os.O_CREAT)  # locked until the process ends
    except OSError as error:
        return _failed(f"cannot use {options.directory}: {error.strerror}")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 100).decode() or "which is just starting"
        return _failed(f"{options.directory} is in use by another broker, {owner}")
    os.truncate(lock, 0)
    os.write(lock, b"process %d" % os.getpid())
    _leave_out_what_is_not_used()
    import asyncio

    return asyncio.run(_run(options.directory, options.port, options.ready_fd))


async def _run(directory: Path, port: int, ready_fd: int) -> int:
    import asyncio

    from stormline.embedded.kafka.broker import Broker
    from stormline.embedded.kafka.server import serve

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every segment stays open

    def say_ready(port: int) -> None:
        tell(f"a Kafka for development, not for production: one node, on 127.0.0.1:{port}, data in {directory}")
        os.write(ready_fd, b"%d\n" % port)
        if ready_fd > 2:
            os.close(ready_fd)

    try:
        broker = Broker(directory)
    except (DamagedError, OSError) as error:
        return _failed(str(error))
    try:
        await serve(broker, port, say_ready, stop)
    except OSError as error:
        if broker.port == 0:
            return _failed(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; take another --port, or end its user")
        return _failed(f"cannot sync {directory}: {error.strerror}; start again when the disk is well", code=1)
    broker.close()
    return 0


def _leave_out_what_is_not_used() -> None:
    """Start in half the time and memory: without TLS, and without the clients that `kafka/__init__` imports."""
    sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio does without it
    spec = importlib.util.find_spec("kafka")
    if spec is not None:
        package = types.ModuleType("kafka")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["kafka"] = package


def _failed(reason: str, code: int = 2) -> int:
    tell(reason)
    return code


if __name__ == "__main__":
    sys.exit(main())
