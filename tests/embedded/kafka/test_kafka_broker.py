"""What the broker does around its requests: the disk, and the mark of a stop in order."""

import errno
import os
from pathlib import Path

import pytest

from stormline.embedded.kafka import broker as broker_module
from stormline.embedded.kafka.broker import Broker
from stormline.embedded.kafka.errors import RefusedError


def test_the_disk_is_well_when_it_has_been_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small write between large ones that fail does not count: each side is told once."""
    now = 100.0
    monkeypatch.setattr(broker_module.time, "monotonic", lambda: now)
    broker = Broker(tmp_path)

    def fail() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for _ in range(3):
        now += 1
        with pytest.raises(RefusedError):
            broker.stored(fail)
        broker.stored(int)
    assert capsys.readouterr().err.count("until there is room") == 1
    now += 4.9
    broker.stored(int)
    assert "works again" not in capsys.readouterr().err
    now += 0.2
    for _ in range(2):
        broker.stored(int)
    assert capsys.readouterr().err.count("works again") == 1
    broker.close()


def test_the_mark_of_a_stop_is_gone_for_good_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed, and the removal synced, at start; and it is synced when it is set."""
    synced: list[tuple[Path, bool]] = []
    mark = tmp_path / "stopped-in-order"
    monkeypatch.setattr(broker_module, "sync_directory", lambda path: synced.append((path, mark.exists())))

    broker = Broker(tmp_path)
    broker.close()
    Broker(tmp_path).close()

    assert synced == [(tmp_path, False), (tmp_path, True)] * 2
