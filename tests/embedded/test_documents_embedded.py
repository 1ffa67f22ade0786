"""What docs/embedded.md says of the broker is what the broker has."""

import re
from pathlib import Path

from stormline.embedded.kafka import settings
from stormline.embedded.kafka.server import APIS

PAGE = (Path(__file__).parents[2] / "docs" / "embedded.md").read_text()


def test_the_requests_are_those_it_answers() -> None:
    """
    The list names each, and no other.
    """
    (listed,) = re.findall(r"^Requests it answers: (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)

    assert sorted(re.split(r",\s+", listed)) == sorted(api.name for api in APIS.values())


def test_the_settings_are_those_a_topic_can_have() -> None:
    """
    Each with its default.
    """
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", PAGE, re.MULTILINE)
    shown = {name: default for names, default in rows for name in re.findall(r"`([a-z.]+\.[a-z.]+)`", names)}

    assert {name: name in shown and value in shown[name] for name, value in settings.DEFAULTS.items()} == dict.fromkeys(
        settings.DEFAULTS, True
    )
