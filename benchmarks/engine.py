"""What the engine costs a tuple: emitted with an id, routed, delivered, acked, and the ack told to the spout.

The components do next to nothing. CPU time, median of several runs.

    ./sparse bench engine [TUPLES]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from stormline.components.edges import Edges
from stormline.components.host import Tuple
from stormline.core.status import Status
from stormline.engine.clock import WallClock
from stormline.engine.deployment import Deployment
from stormline.engine.groupings import Grouping
from stormline.engine.topology import ComponentSpec, StreamSpec, Subscription, TopologySpec
from stormline.engine.worker import Worker

GOAL_US = 5.0
RUNS = 7


class Idle:
    """What both components share."""

    due_ms = None

    def prepare(self, host: Any) -> None:
        self.host = host

    def status(self) -> Status:
        return Status(settled=True)

    def on_time(self, now_ms: int) -> None:
        """No timers."""

    def close(self) -> None:
        """Nothing to close."""


class Source(Idle):
    """A spout of `tuples` tuples."""

    def __init__(self, tuples: int) -> None:
        self.left = self.unacked = tuples

    def activate(self) -> None:
        """Nothing to wake."""

    def next_tuple(self) -> bool:
        if not self.left:
            return False
        self.left -= 1
        self.host.emit((self.left,), message_id=self.left)
        return True

    def ack(self, message_id: Any) -> None:
        self.unacked -= 1

    def fail(self, message_id: Any) -> None:
        raise AssertionError("nothing fails here")


class Sink(Idle):
    """A bolt that acks."""

    def execute(self, tup: Tuple) -> None:
        self.host.ack(tup)


def main() -> None:
    tuples = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    measured = [measure(tuples) for _ in range(RUNS)]
    ours = statistics.median(measured)
    print(
        json.dumps(
            {
                "name": "engine",
                "unit": "us of CPU per tuple",
                "ours": round(ours, 2),
                "peer": None,
                "ratio": None,
                "goal": GOAL_US,
                "met": ours < GOAL_US,
                "spread": [round(min(measured), 2), round(max(measured), 2)],
            }
        )
    )


def measure(tuples: int) -> float:
    """Microseconds of CPU a tuple."""
    source = Source(tuples)
    streams = {"default": StreamSpec(("number",))}
    shuffled = (Subscription("source", "default", Grouping("shuffle")),)
    topology = TopologySpec(
        (
            ComponentSpec("source", lambda: source, True, streams=streams),
            ComponentSpec("sink", Sink, False, parallelism=2, inputs=shuffled),
        )
    )
    worker = Worker(Deployment(topology, name="engine", conf={}), edges=cast(Edges, None), clock=WallClock())
    worker.start()
    began = time.process_time()
    worker.run(lambda: not source.unacked)
    return (time.process_time() - began) / tuples * 1e6


if __name__ == "__main__":
    main()
