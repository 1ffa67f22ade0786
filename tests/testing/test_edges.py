"""The edges of memory under an engine of one's own: what the driver does not reach for."""

from typing import cast

from stormline import FilterBolt, KafkaSpout, Record, Topology
from stormline.components.edges import Edges
from stormline.engine.deployment import Deployment
from stormline.engine.topology import read_topology
from stormline.engine.worker import Worker
from stormline.testing import Log, ManualClock, MemoryStore
from stormline.testing.edges import MemoryEdges


class Reading(Record):
    at: int


class Readings(KafkaSpout):
    topic = "readings"
    schema = Reading
    event_time = "at"


class All(FilterBolt):
    def keep(self, record: Reading) -> bool:
        return True


class Pipeline(Topology):
    readings = Readings.spec()
    all = All.spec(inputs=[readings])


def test_a_spout_at_rest_waits_for_nothing_it_may_not_emit() -> None:
    """
    After `deactivate` a failed batch that is due does not keep the engine busy.
    """
    log, store, clock = Log(), MemoryStore(), ManualClock()
    log.create("readings", 1)
    conf = {"stormline.app": "test", "stormline.run": store.begin_run()}
    edges = cast(Edges, MemoryEdges(log, store))
    engine = Worker(Deployment(read_topology(Pipeline), name="test", conf=conf), edges=edges, clock=clock)
    engine.start()
    log.append("readings", 0, key=None, value=b'{"at": 1}')
    while engine.status()["readings"][0].records_out == 0:
        assert engine.step()
    engine.kill_task(engine.deployment.tasks["all"][0])
    while engine.status()["readings"][0].failed == 0:
        assert engine.step()
    engine.deactivate()
    clock.advance("1m")

    steps = 0
    while engine.step():
        steps += 1
        assert steps < 100
