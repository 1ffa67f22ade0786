"""What docs/kafka.md shows is run, and what its tables name is what there is."""

import json
import re
import sys
import types
from pathlib import Path

import pytest

from stormline import FromKafka, KafkaSpout
from stormline.cli import config
from stormline.cli.feed import feed
from stormline.connectors import kafka_probe
from stormline.connectors.feed_settings import OF_A_FILE, OF_A_PROGRAM

PAGE = (Path(__file__).parents[1] / "docs" / "kafka.md").read_text()


def test_what_is_shown_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The topology of the page and its test; the decoder, fed.
    """
    shown = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", shown)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/kafka.md", "exec"), vars(shown))
    spout = shown.Readings()
    assert spout.decode(b"a;21.50") == shown.Reading("a", shown.Decimal("21.50"))


def test_the_environments_shown_are_valid(tmp_path: Path) -> None:
    """
    Each is a config.json without a fault.
    """
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "config.json").write_text(block)
        assert config.load(tmp_path).environment(None).kafka


def test_what_is_told_of_a_kafka_that_lets_nobody_in_is_what_the_page_says() -> None:
    """
    The words of the table stand in the probe.
    """
    probe = re.sub(r"\s+", " ", Path(kafka_probe.__file__).read_text())
    table = PAGE.partition("| what is wrong |")[2].partition("\n\n")[0]
    for told in re.findall(
        r"`([a-z][^`]*)`", table.replace("does not take PLAIN, but SCRAM-SHA-512", "does not take ")
    ):
        assert told in probe


def test_the_feeds_of_an_environment_are_as_shown() -> None:
    """
    A file and a program, each with all that its entry may have.
    """
    file, program = (json.loads(each) for each in re.findall(r'(\{"(?:file|program)":[^}]*\})', PAGE))
    assert (tuple(file), tuple(program)) == (OF_A_FILE, OF_A_PROGRAM)


def test_the_tables_name_what_there_is() -> None:
    """
    Every setting of the spout with its default, every mark, every option of the feed.
    """
    settings = PAGE.partition("| setting |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", re.sub(r"\|[^|\n]*\|[^|\n]*\|$", "|", settings, flags=re.MULTILINE)))
    assert named == set(KafkaSpout.settings)
    for name in ("value", "start", "out_of_order", "max_ahead"):
        (row,) = re.findall(rf"^\| `{name}` .*\| `\"(\w+)\"` \|$", settings, re.MULTILINE)
        assert row == getattr(KafkaSpout, name)
    assert {mark.name for mark in FromKafka} == set(re.findall(r"^\| `FromKafka\.(\w+)` \|", PAGE, re.MULTILINE))
    options = {option for each in feed.params for option in each.opts if each.param_type_name == "option"}
    for option in set(re.findall(r"^\| `(-+[\w-]+) ", PAGE, re.MULTILINE)):
        assert option in options
    assert len(re.findall(r"^\| `(-+[\w-]+) ", PAGE, re.MULTILINE)) == len(feed.params) - 2  # FILE and TOPIC
