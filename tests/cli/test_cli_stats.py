"""How `sparse stats` tells an error in one line."""

from __future__ import annotations

import pytest

from stormline.cli.stats_tables import gist

SHELL = """java.lang.RuntimeException: pid:25, name:payments exitCode:1, errorString:Traceback (most recent call last):
  File "stormline/multilang/loop.py", line 80, in server_edges
    brokers = Brokers.of_conf(conf.get(KAFKA, "")).found_here(KAFKA)
              ^^^^^^^^^^^^^^^
KeyError: 'PASSWORD'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "stormline/connectors/addresses.py", line 20, in resolved
    raise SettingsError(...)
stormline.core.errors.SettingsError: the SASL password is 'env:PASSWORD', which this machine does not have

\tat org.apache.storm.spout.ShellSpout.querySubprocess(ShellSpout.java:270)
Caused by: java.io.IOException: Stream closed"""
JAVA = "java.lang.Exception: Shell Process Exception: cannot write to out\n\tat org.apache.storm.task.ShellBolt.run()"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            SHELL,
            "stormline.core.errors.SettingsError: the SASL password is 'env:PASSWORD', which this machine does not "
            "have",
        ),
        (JAVA, "java.lang.Exception: Shell Process Exception: cannot write to out"),
        ("", ""),
    ],
    ids=["a Python traceback", "none", "nothing"],
)
def test_an_error_is_told_by_what_was_raised(text: str, told: str) -> None:
    """
    Of a Python traceback, or several, that is the last exception; else the first line.
    """
    assert told == gist(text.splitlines())
