"""What the README shows is run: its commands, with the lines they print, and its code."""

import ast
import re
import shlex
import textwrap
from decimal import Decimal
from pathlib import Path

import click
from faults.conftest import Project

from bolts.large_purchases import LargePurchases
from spouts.purchases import Purchase
from stormline.cli import commands
from stormline.cluster.settings import Settings
from stormline.testing import Driver

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_commands_print_the_lines_that_are_shown(tmp_path: Path) -> None:
    """
    Each `$ ./sparse …` of the README runs, in order, and prints each line shown below it.
    """
    project = Project(tmp_path)
    shown = "\n".join(blocks("console")).splitlines()
    assert len([line for line in shown if line.startswith("$ ")]) >= 4
    printed = ""
    for line in shown:
        if line.startswith("$ ./sparse "):
            done = project.sparse(*shlex.split(line)[2:])
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            printed = done.stdout
        else:
            assert line in printed


def test_each_option_that_is_mentioned_exists() -> None:
    """
    Of `sparse VERB --option` in any document: the verb is there, and has the option.
    """
    context = click.Context(commands.sparse)
    seen = 0
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for words in re.findall(r"(?:\./|`)sparse ([^`\n]+)", document.read_text()):
            command: click.Command | None = commands.sparse
            for word in words.split():
                if isinstance(command, click.Group) and (command := command.get_command(context, word)) is None:
                    break
                if command is not None and word.startswith("-") and command.name != "test":
                    seen += 1
                    known = {option for each in command.get_params(context) for option in each.opts}
                    assert word.partition("=")[0] in known, f"{document.name}: sparse {words}"
    assert seen > 50


def test_each_port_of_the_cluster_is_named() -> None:
    """
    Whoever has another program on one of them finds the key to set.
    """
    named = set(re.findall(r"`(\w+_ports?)`", (ROOT / "docs" / "cluster.md").read_text()))
    assert {key for key, _ in Settings().ports()} <= named


def test_the_topology_shown_is_the_code() -> None:
    """
    Every class on the README's one screen stands, line for line, in the file that is named beside it.
    """
    listing = blocks("python")[0]
    source = ""
    for line in listing.splitlines():
        code, _, file = line.partition("  # ")
        if file:
            source = (ROOT / file.strip()).read_text()
        assert code.rstrip() in source, line


def test_the_test_shown_passes() -> None:
    """
    The README's test of a bolt is a test.
    """
    code = textwrap.dedent(blocks("python")[1])
    ast.parse(code)
    names = {"Driver": Driver, "LargePurchases": LargePurchases, "Purchase": Purchase, "Decimal": Decimal}
    exec(code, names)


def test_boxes_and_links_are_files() -> None:
    """
    Each box of the diagram and each link to a file leads somewhere.
    """
    boxes = re.findall(r"\b((?:core|components|connectors|engine|embedded)/\w+\.(?:py|lua))", README)
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!http)([^)]+)\)", README)]

    assert len(boxes) >= 10
    assert [] == [box for box in boxes if not (ROOT / "src" / "stormline" / box).is_file()]
    assert [] == [link for link in links if not (ROOT / link).exists()]
