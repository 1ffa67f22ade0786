"""Stormline: Python topologies for Apache Storm. Kafka in, windows by key, results in Redis that count exactly once.

Read in this order:

 1. core/record.py                the typed value that travels, and where it came from
 2. core/batch.py                 what one tuple carries
 3. components/kafka_spout.py     Kafka to batches, each emitted until it is acked
 4. core/source.py                the rules of a spout: frontier, replay, commit, watermark
 5. components/filter_bolt.py     keep or drop
 6. core/split.py                 each record to the task that owns its key
 7. components/window_bolt.py     count, flush, ack
 8. core/keyed.py                 the rules of a keyed bolt: count once, close, flush
 9. core/window.py                which window a record belongs to
10. core/table.py                 what a slot keeps of a kind of window, shows of it and sends on
11. core/aligned.py               tumbling, calendar and global windows; beside it sliding.py, sessions.py, counts.py
12. core/aggregate.py             what is computed over a window; beside it arithmetic.py, ordered.py, sketches.py
13. core/outbox.py                what is sent on, until it has arrived
14. connectors/flush.lua          one atomic write of a slot
15. components/wiring.py          `.spec()` made into Storm's streams and groupings
16. components/chaining.py        filters that run in the tasks of the component above them
17. engine/worker.py              the local Storm: tasks in one process and one thread
18. engine/hosts.py               one task at work: what it emits, acks and fails
19. engine/bus.py                 tuples on their way, and the acker
20. engine/workers.py             several workers, and what happens when one dies
21. engine/stock.py               stock streamparse components in a worker
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamparse import Topology

    from stormline.cli.sections import Rows, Top
    from stormline.components.filter_bolt import FilterBolt
    from stormline.components.from_kafka import FromKafka
    from stormline.components.kafka_sink import KafkaSink, Message
    from stormline.components.kafka_spout import KafkaSpout
    from stormline.components.process_bolt import ProcessBolt, State
    from stormline.components.window_bolt import WindowBolt
    from stormline.connectors.results import Results
    from stormline.connectors.versions import Stored
    from stormline.core.arithmetic import AllTrue, AnyTrue, Count, Max, Mean, Min, Range, Sum, WeightedMean
    from stormline.core.calendar import calendar
    from stormline.core.cells import Cancel, Forget, Timer
    from stormline.core.errors import ServerError, SettingsError, StateError, StormlineError, UserCodeError
    from stormline.core.frequent import TopK
    from stormline.core.ordered import Collect, Concat, First, Last
    from stormline.core.record import Record
    from stormline.core.sketches import Distinct, Quantiles
    from stormline.core.statistics import Histogram, StdDev, Variance
    from stormline.core.trigger import every
    from stormline.core.window import count_window, global_window, session, sliding, tumbling

_HOME = {
    "Topology": "streamparse",
    "Top": "stormline.cli.sections",
    "Rows": "stormline.cli.sections",
    "KafkaSpout": "stormline.components.kafka_spout",
    "FromKafka": "stormline.components.from_kafka",
    "KafkaSink": "stormline.components.kafka_sink",
    "Message": "stormline.components.kafka_sink",
    "FilterBolt": "stormline.components.filter_bolt",
    "WindowBolt": "stormline.components.window_bolt",
    "ProcessBolt": "stormline.components.process_bolt",
    "State": "stormline.components.process_bolt",
    "Timer": "stormline.core.cells",
    "Cancel": "stormline.core.cells",
    "Forget": "stormline.core.cells",
    "Record": "stormline.core.record",
    "tumbling": "stormline.core.window",
    "sliding": "stormline.core.window",
    "session": "stormline.core.window",
    "count_window": "stormline.core.window",
    "global_window": "stormline.core.window",
    "calendar": "stormline.core.calendar",
    "every": "stormline.core.trigger",
    "Count": "stormline.core.arithmetic",
    "Sum": "stormline.core.arithmetic",
    "Min": "stormline.core.arithmetic",
    "Max": "stormline.core.arithmetic",
    "Mean": "stormline.core.arithmetic",
    "Range": "stormline.core.arithmetic",
    "WeightedMean": "stormline.core.arithmetic",
    "AnyTrue": "stormline.core.arithmetic",
    "AllTrue": "stormline.core.arithmetic",
    "Variance": "stormline.core.statistics",
    "StdDev": "stormline.core.statistics",
    "Histogram": "stormline.core.statistics",
    "First": "stormline.core.ordered",
    "Last": "stormline.core.ordered",
    "Collect": "stormline.core.ordered",
    "Concat": "stormline.core.ordered",
    "Distinct": "stormline.core.sketches",
    "Quantiles": "stormline.core.sketches",
    "TopK": "stormline.core.frequent",
    "Results": "stormline.connectors.results",
    "Stored": "stormline.connectors.versions",
    "StormlineError": "stormline.core.errors",
    "SettingsError": "stormline.core.errors",
    "UserCodeError": "stormline.core.errors",
    "StateError": "stormline.core.errors",
    "ServerError": "stormline.core.errors",
}

__all__ = [
    # topologies
    "Topology",
    "Top",
    "Rows",
    # components
    "KafkaSpout",
    "KafkaSink",
    "Message",
    "FilterBolt",
    "WindowBolt",
    "ProcessBolt",
    "State",
    "Timer",
    "Cancel",
    "Forget",
    # records, windows, aggregates
    "Record",
    "FromKafka",
    "tumbling",
    "sliding",
    "session",
    "count_window",
    "global_window",
    "calendar",
    "every",
    "Count",
    "Sum",
    "Min",
    "Max",
    "Mean",
    "Range",
    "WeightedMean",
    "AnyTrue",
    "AllTrue",
    "Variance",
    "StdDev",
    "Histogram",
    "First",
    "Last",
    "Collect",
    "Concat",
    "Distinct",
    "Quantiles",
    "TopK",
    # reading what came out
    "Results",
    "Stored",
    # errors
    "StormlineError",
    "SettingsError",
    "UserCodeError",
    "StateError",
    "ServerError",
]


def __getattr__(name: str) -> object:
    """Look a public name up when it is asked for: importing streamparse costs half a second."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'stormline' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
