"""The trades topology under a steady load on a Storm cluster: latency seen from outside, and what a death costs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles

from _storm import LIMIT_S, LOOK_EVERY_S, ROOT, Storm, kind_of
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stormline.connectors.redis import clear, connect
from stormline.connectors.redis_commands import app_key, slot_tag
from stormline.core.slot import key_text, slot_of
from stormline.core.window import tumbling

PARTITIONS = 4
HOURLY = tumbling("1h")
"""As the bolt has it."""
WARM_S = 30.0
BEFORE_S = 5.0
"""Over so long the backlog is looked at before a death, to know what is usual."""


class Paced:
    """The topology, under the name of a topic of its own."""

    def __init__(self, storm: Storm, topic: str) -> None:
        self._storm = storm
        self._app = topic
        self._client = connect(storm.redis_url)
        self._log_ends = Consumer({"bootstrap.servers": storm.kafka, "group.id": f"{topic}-ends"})
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._records_per_s = 0.0
        self._sent: deque[tuple[int, int, float]] = deque()

    @contextmanager
    def fed(self, records_per_s: float) -> Iterator[Paced]:
        """Once; it runs, and is fed, as long as the block."""
        self._records_per_s = records_per_s
        admin = AdminClient({"bootstrap.servers": self._storm.kafka})
        admin.create_topics([NewTopic(self._app, PARTITIONS, 1)])[self._app].result(30)
        self._submit()
        arguments = [self._storm.kafka, self._app, str(PARTITIONS), str(records_per_s)]
        command = [sys.executable, str(ROOT / "benchmarks" / "_paced.py"), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
            threading.Thread(target=self._listen, args=(feeder,), daemon=True).start()
            try:
                yield self
            finally:
                feeder.terminate()
        self._storm.kill(self._app)
        clear(self._client, self._app)
        self._log_ends.close()

    def latencies_ms(self, warm_up_s: float, seconds: float) -> tuple[float, float]:
        """(p50, p99) from the producer's call until the result with the probe is in Redis, and its file is synced. It
        begins when what came while the topology was cold is counted, at the latest after half a minute more."""
        time.sleep(warm_up_s)
        most = time.monotonic() + WARM_S
        while self._backlog() > self._records_per_s and time.monotonic() < most:
            time.sleep(LOOK_EVERY_S)
        self._sent.clear()
        found: list[float] = []
        waiting: list[tuple[int, int, float]] = []
        until = time.monotonic() + seconds
        while waiting or time.monotonic() < until:
            while self._sent and time.monotonic() < until:
                waiting.append(self._sent.popleft())
            for probe in list(waiting):
                if self._is_counted(probe[0], probe[1]):
                    found.append((time.monotonic() - probe[2]) * 1000)
                    waiting.remove(probe)
            if time.monotonic() > until + LIMIT_S:
                sys.exit(f"{len(waiting)} probes do not come to Redis")
            time.sleep(0.002)
        cuts = quantiles(found, n=100)
        return cuts[49], cuts[98]

    def recovery_s(self, kind: str) -> float:
        """SIGKILL of a process; seconds until no more than usual is waiting: all that came meanwhile is counted."""
        usual, until = 0, time.monotonic() + BEFORE_S
        while time.monotonic() < until:
            usual = max(usual, self._backlog())
            time.sleep(LOOK_EVERY_S)
        os.kill(self._pids(kind)[0], signal.SIGKILL)
        killed = time.monotonic()
        self._storm.wait(lambda: self._backlog() > 2 * usual, f"the death of a {kind} is not felt")
        self._storm.wait(lambda: self._backlog() <= usual, f"after the death of a {kind} the backlog does not go")
        return time.monotonic() - killed

    def _submit(self) -> None:
        project = self._storm.directory / self._app
        (project / "topologies").mkdir(parents=True)
        shutil.copy(ROOT / "topologies" / "hourly_trades.py", project / "topologies")
        for folder in ("spouts", "bolts"):
            shutil.copytree(ROOT / "src" / folder, project / "src" / folder)
        spout = project / "src" / "spouts" / "trades.py"
        spout.write_text(spout.read_text().replace('topic = "trades"', f'topic = "{self._app}"'))
        self._storm.make_project(project)
        self._storm.submit(project, "hourly_trades", self._app)
        self._storm.wait(lambda: len(self._pids("Trades")) == 2, "the spouts do not run")

    def _listen(self, feeder: subprocess.Popen[str]) -> None:
        assert feeder.stdout is not None
        for line in feeder.stdout:
            user, time_ms, sent_s = line.split()
            self._sent.append((int(user), int(time_ms), float(sent_s)))

    def _backlog(self) -> int:
        """Records in the topic that are not counted for good."""
        ends = [self._log_ends.get_watermark_offsets(each, timeout=10)[1] for each in self._partitions]
        return sum(ends) - sum(int(offset) for offset in self._client.hvals(app_key(self._app, "commits")))

    def _is_counted(self, user: int, time_ms: int) -> bool:
        tag, field = slot_tag(self._app, "hourly", slot_of(key_text(user))), key_text(user)
        window = f"{HOURLY.name}:{HOURLY.span(time_ms).start_ms}"
        return bool(self._client.hexists(f"{tag}:w:{window}", field))

    def _pids(self, kind: str) -> list[int]:
        return [each.pid for each in self._storm.processes(self._app) if kind_of(each) == kind]
