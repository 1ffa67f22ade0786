"""A real Redis for the contracts of the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stormline.embedded.servers import EmbeddedServers


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServers.start(Path(tmp_path_factory.mktemp("redis")), redis_only=True) as servers:
        yield servers.redis_url
