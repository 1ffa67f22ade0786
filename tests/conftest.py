"""Which tests may run beside each other, where pytest-xdist runs them in two processes: those of one file, or of the
cluster, share servers, and stay together."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real servers are started once, so all tests with them are one group. It is the longest, and begins first."""
    for item in items:
        place = item.path.relative_to(ROOT)
        item.add_marker(pytest.mark.xdist_group("cluster" if place.parts[0] == "cluster" else str(place)))
    items.sort(key=lambda item: item.path.relative_to(ROOT).parts[0] != "cluster")
