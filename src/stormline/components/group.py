"""The spouts of an app share its consumer group, so one topic is read by one of them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from stormline.components.kafka_spout import KafkaSpout
from stormline.core.errors import SettingsError
from stormline.core.topics import both


def check_group(topology: Any) -> None:
    """Raises SettingsError if two spouts of a `Topology` class read one topic, as far as names and patterns tell."""
    spouts = [spec for spec in topology.specs if issubclass(spec.component_cls, KafkaSpout)]
    faults = [
        f"{topology.__name__}: {one.name} and {other.name} both read {shared}. They share the offsets that are "
        "committed, so after a restart one would pass over what only the other has counted; "
        "let several bolts read one spout"
        for one, other in combinations(spouts, 2)
        if (shared := both(one.component_cls.topic, other.component_cls.topic))
    ]
    if faults:
        raise SettingsError(*faults)
