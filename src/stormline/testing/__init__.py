"""The public testing kit: see `driver`."""

from stormline.testing.clock import ManualClock
from stormline.testing.determinism import assert_deterministic
from stormline.testing.driver import Driver
from stormline.testing.laws import aggregate_laws
from stormline.testing.log import DeadLetter, Log, Message
from stormline.testing.single import Sent
from stormline.testing.store import MemoryStore

__all__ = [
    "DeadLetter",
    "Driver",
    "Log",
    "ManualClock",
    "MemoryStore",
    "Message",
    "Sent",
    "aggregate_laws",
    "assert_deterministic",
]
