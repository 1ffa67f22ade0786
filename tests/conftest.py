"""Which tests stay together where pytest-xdist runs them in two processes: those of one file, and those that share the
cluster or the two brokers of the contracts, which are started once. And that no example of Hypothesis has a deadline:
how long one takes says something of the machine alone."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

TOGETHER = ("tests/cluster/", "tests/contracts/kafka/")
"""The longest first."""


class Scheduling(LoadScopeScheduling):
    """By whole files, or folders."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=lambda item: not item.nodeid.startswith(TOGETHER))
