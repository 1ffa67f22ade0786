"""One history with faults, told step by step; run as a program it prints the history of the seed that is given."""

import sys
from collections.abc import Iterator

from stormline import Count, KafkaSpout, Record, Topology, WindowBolt, tumbling
from stormline.testing import Driver


class Reading(Record):
    at: int
    sensor: str


class Readings(KafkaSpout):
    topic = "readings"
    schema = Reading
    event_time = "at"


class PerTen(WindowBolt):
    key = "sensor"
    window = tumbling("10ms")
    aggregate = {"readings": Count()}


class Sensors(Topology):
    readings = Readings.spec(par=2)
    per_ten = PerTen.spec(inputs=[readings], par=2)


def history(seed: int) -> Iterator[str]:
    tried = Driver(Sensors, seed=seed, partitions=3)
    faults = [tried.lose_next_flush, tried.lose_next_reply, tried.restart_redis, lambda: tried.kill("per_ten")]
    for at in range(60):
        tried.send({"at": at, "sensor": "abcde"[at % 5]}, partition=at % 3, run=False)
        if at % 8 == 7:
            faults[at // 8 % 4]()
        for _ in range(10):
            tried.run(steps=1)
            tasks = [task for tasks in tried.status().values() for task in tasks]
            yield str([(task.records_in, task.records_out, task.acked, task.failed) for task in tasks])
        tried.clock.advance("30ms")
    begun_ms = tried.clock.now_ms()
    tried.end()
    yield f"the end took {tried.clock.now_ms() - begun_ms} ms, {tried.failed} failed"
    yield from map(str, tried.results())


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in history(int(sys.argv[1])))
