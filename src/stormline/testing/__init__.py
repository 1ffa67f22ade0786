"""The public testing kit: see `driver`."""

from stormline.testing.clock import ManualClock
from stormline.testing.driver import Driver
from stormline.testing.log import Log, Message
from stormline.testing.store import MemoryStore

__all__ = ["Driver", "Log", "ManualClock", "MemoryStore", "Message"]
