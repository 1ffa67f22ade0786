"""The embedded broker and Apache Kafka for one benchmark, each as its users start it, on free ports."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from stormline.cluster import jars, needs, parts
from stormline.cluster.layout import Layout
from stormline.cluster.settings import Settings
from stormline.embedded.ports import HOST, free_port

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S, LOOK_EVERY_S = 60.0, 0.05


class Broker(NamedTuple):
    """A running one."""

    name: str
    bootstrap: str
    pid: int


@contextmanager
def embedded(directory: Path) -> Iterator[Broker]:
    """The one that `./sparse run` starts."""
    command = [sys.executable, "-P", "-m", "stormline.embedded.kafka", "--directory", str(directory)]
    with (directory.parent / "embedded.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
    with _ended(process):
        assert process.stdout is not None
        yield Broker("embedded", f"{HOST}:{int(process.stdout.readline())}", process.pid)


@contextmanager
def apache(directory: Path) -> Iterator[Broker]:
    """The one that `./sparse up` starts, with its heap and its settings."""
    java_home = needs.require()
    port = free_port()
    settings = Settings(kafka_port=port, kafka_controller_port=free_port(avoid=[port]))
    folder = ROOT / ".stormline" / "jars"
    jars.fetch(folder, settings.storm_version, settings.kafka_version, java_home, lambda line: print(line, flush=True))
    layout = Layout(directory, folder, settings)
    layout.write()
    subprocess.run(parts.format_command(layout, java_home), check=True, capture_output=True)
    (kafka,) = (part for part in parts.all_of(layout, java_home) if part.title == "Kafka")
    with (layout.logs / "kafka.log").open("wb") as log:
        process = subprocess.Popen(kafka.command, stdout=log, stderr=subprocess.STDOUT, cwd=directory)
    with _ended(process):
        deadline = time.monotonic() + LIMIT_S
        while not kafka.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"Apache Kafka did not start:\n{(layout.logs / 'kafka.log').read_text()[-2000:]}")
            time.sleep(LOOK_EVERY_S)
        yield Broker("Apache Kafka", f"{HOST}:{port}", process.pid)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens; its data goes with its directory, so it need not be let finish."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
