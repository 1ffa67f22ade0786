"""The journals of topics and commits: nothing half kept, nothing invented."""

import json
import os
from pathlib import Path

import pytest

from stormline.embedded.kafka.catalog import Catalog
from stormline.embedded.kafka.commits import Commit, Commits
from stormline.embedded.kafka.errors import DamagedError
from stormline.embedded.kafka.journal import Entry, Journal


def test_a_journal_torn_at_any_byte_keeps_what_was_whole(tmp_path: Path) -> None:
    """Wherever a killed process stopped writing, the commits before are there and later ones can be made."""
    commits = Commits(tmp_path)
    commits.commit("g", {("t", 0): Commit(1, 0, "")})
    whole = commits.journal.file.size
    commits.commit("g", {("t", 0): Commit(2, 0, ""), ("t", 1): Commit(2, 0, "")})
    commits.close()
    path = tmp_path / "groups.journal"
    content = path.read_bytes()
    for end in range(whole, len(content)):
        path.write_bytes(content[:end])

        commits = Commits(tmp_path)

        assert commits.groups == {"g": {("t", 0): Commit(1, 0, "")}}
        commits.commit("g", {("t", 1): Commit(3, 0, "é")})
        commits.close()
        commits = Commits(tmp_path)
        assert commits.groups["g"][("t", 1)] == Commit(3, 0, "é")
        commits.close()


def test_damage_before_the_end_is_an_error(tmp_path: Path) -> None:
    """A changed line is not skipped: the broker names the file and the line."""
    commits = Commits(tmp_path)
    for offset in range(3):
        commits.commit("g", {("t", 0): Commit(offset, 0, "")})
    commits.close()
    path = tmp_path / "groups.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b",1,", b",9,") + lines[2])

    with pytest.raises(DamagedError, match=rf"{path}.*line 2"):
        Commits(tmp_path)


def test_a_journal_does_not_grow_with_time(tmp_path: Path) -> None:
    """A long life of commits to few partitions leaves a small file, and all that is true in it."""
    commits = Commits(tmp_path)
    note = "n" * 4000
    for offset in range(1200):
        commits.commit(f"g{offset % 3}", {("t", 0): Commit(offset, 0, note)})
    size = commits.journal.file.size
    commits.close()

    commits = Commits(tmp_path)

    assert size < 2_000_000 < 1200 * len(note)
    assert [commits.groups[f"g{i}"][("t", 0)].offset for i in range(3)] == [1197, 1198, 1199]
    commits.close()


@pytest.mark.parametrize("can_be_cut", [True, False])
def test_an_entry_that_cannot_be_written_is_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_be_cut: bool
) -> None:
    """What is not on the disk is not in memory, and no part of it stays: it is cut at once, or before what is next."""

    def refuse(fd: int, size: int) -> None:
        raise OSError("no")

    applied: list[Entry] = []
    journal = Journal(tmp_path / "j", applied.append, list)
    journal.append(["kept"])
    size = journal.file.size
    with monkeypatch.context() as patched:
        patched.setattr("os.writev", lambda fd, pieces: os.write(fd, pieces[0][:3]))  # the disk takes three bytes
        if not can_be_cut:
            patched.setattr("os.ftruncate", refuse)
        with pytest.raises(OSError, match="part"):
            journal.append(["lost"])
    assert (tmp_path / "j").stat().st_size == size + (0 if can_be_cut else 3)
    journal.append(["later"])

    assert applied == [["kept"], ["later"]]
    lines = (tmp_path / "j").read_bytes().splitlines()
    assert [json.loads(line[9:]) for line in lines] == applied
    journal.file.close()


def test_the_catalog_comes_back_as_it_was(tmp_path: Path) -> None:
    """Topics, ids, settings, partitions, deletions and moved starts survive; leftovers of a crash are removed."""
    catalog = Catalog(tmp_path, is_intact=True)
    catalog.create("a", 2, {"retention.ms": "5"})
    catalog.create("b", 1, {})
    catalog.grow("a", 3)
    catalog.delete("b")
    catalog.create("b", 4, {})
    before = {name: (topic.id, topic.settings, len(topic.logs)) for name, topic in catalog.topics.items()}
    cluster_id = catalog.cluster_id
    catalog.close()
    (tmp_path / "topics" / "half-created" / "0").mkdir(parents=True)

    catalog = Catalog(tmp_path, is_intact=False)

    assert {name: (topic.id, topic.settings, len(topic.logs)) for name, topic in catalog.topics.items()} == before
    assert catalog.cluster_id == cluster_id
    assert len(list((tmp_path / "topics").iterdir())) == 2
    catalog.close()


def test_a_producer_id_is_never_given_twice(tmp_path: Path) -> None:
    """Ids go on rising over restarts, also after a kill, or two producers would look like one."""
    seen: list[int] = []
    for _ in range(3):
        catalog = Catalog(tmp_path, is_intact=False)
        seen += [catalog.new_producer_id() for _ in range(1001)]
        catalog.journal.file.close()

    assert sorted(set(seen)) == seen
