"""Which tests may run beside each other, where pytest-xdist runs them in two processes: those of one file, or of the
cluster, share servers, and stay together."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real servers are started once, so all tests with them are one group. It is the longest, and begins first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item.path.relative_to(ROOT))))
    items.sort(key=lambda item: item.path.relative_to(ROOT).parts[0] != "cluster")


def _group(place: Path) -> str:
    """The cluster's programs are one group, the two brokers of the contracts another."""
    if place.parts[0] == "cluster":
        return "cluster"
    return "contracts/kafka" if place.parts[:2] == ("contracts", "kafka") else str(place)
