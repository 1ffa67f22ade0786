"""The verbs: what is refused, before anything is started, and how it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stormline.cli import STARTED_S, commands, topologies
from stormline.cli.config import find_project
from stormline.cli.feeding import Feeding
from stormline.cli.servers import stored
from stormline.components.graph import graph_fingerprint
from stormline.core.errors import SettingsError, StateError

WORDS = """
from stormline import Count, FilterBolt, KafkaSpout, Record, Topology, WindowBolt, tumbling

class Word(Record):
    text: str
    length: int

class Words(KafkaSpout):
    topic = "words"
    schema = Word

class Long(FilterBolt):
    def keep(self, word):
        return word.length > 3

class ByLength(WindowBolt):
    key = "length"
    window = tumbling("1h")
    aggregate = {"words": Count()}

class ByBoth(ByLength):
    key = ("text", "length")

class All(WindowBolt):
    window = tumbling("1h")
    aggregate = {"words": Count()}
"""
TOPOLOGY = """
from words_parts import *

class WordsTopology(Topology):
    words = Words.spec()
    long = Long.spec(inputs=[words])
    by_length = ByLength.spec(inputs=[long])
    by_both = ByBoth.spec(inputs=[long])
    overall = All.spec(inputs=[long])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one topology, `words`, and the environments `embedded` and `nowhere`."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "words_parts.py").write_text(WORDS)
    (tmp_path / "topologies").mkdir()
    (tmp_path / "topologies" / "words.py").write_text(TOPOLOGY)
    envs = {
        "embedded": {"kafka": "embedded", "redis": "embedded"},
        "nowhere": {"kafka": "127.0.0.1:1", "redis": "redis://127.0.0.1:1/0"},
        "storm": {"nimbus": "storm.example"},
    }
    (tmp_path / "config.json").write_text(json.dumps({"topology_specs": "topologies/", "envs": envs}))
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.delitem(sys.modules, "words_parts", raising=False)
    return tmp_path


def sparse(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands.sparse, ["--project", str(project), *arguments])


def refused(result: Result, *expected: str, code: int = 2) -> None:
    """It ended with this code, an `error:` with these words, and no traceback."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: "), result.stderr
    assert "Traceback" not in result.output
    for words in expected:
        assert words in result.stderr


def test_help_names_every_verb() -> None:
    """`--help` lists the verbs, each with a line of its own."""
    listed = CliRunner().invoke(commands.sparse, ["--help"]).stdout
    assert all(f"\n  {verb} " in listed for verb in ("run", "results", "resume", "test", "bench"))


def test_help_imports_no_client_and_no_framework() -> None:
    """`--help` answers at once, as nothing heavy is imported for it: no streamparse, Kafka, Redis, rich."""
    program = (
        "import sys\nfrom stormline.cli import main\n"
        "try:\n    sys.argv[1:] = ['--help']; main()\nfinally:\n"
        "    print([m for m in ('streamparse', 'kafka', 'redis', 'rich', 'msgspec', 'asyncio') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_an_environment_that_does_not_exist_is_refused(project: Path) -> None:
    """With the names of those that do, and exit code 2."""
    refused(sparse(project, "run", "-e", "embeded"), 'did you mean "embedded"?', "embedded, nowhere, storm")


def test_an_environment_without_servers_is_refused(project: Path) -> None:
    """An environment of stock streamparse says nothing about Kafka and Redis."""
    refused(sparse(project, "run", "-e", "storm"), 'the environment "storm"', "kafka and redis")


def test_a_kafka_that_is_not_there_is_told_with_its_place_and_what_to_do(project: Path) -> None:
    """Where it should be, which setting says so, and the way without a server."""
    refused(sparse(project, "run", "-e", "nowhere"), "Kafka at 127.0.0.1:1", '"kafka"', "-e embedded", code=1)


def test_a_redis_that_is_not_there_is_told_with_its_place(project: Path) -> None:
    """Reading results needs only Redis, and says where it looked."""
    refused(sparse(project, "results", "by_length", "-e", "nowhere"), "Redis at redis://127.0.0.1:1/0", code=1)


def test_fresh_asks_first_outside_the_embedded_servers(project: Path) -> None:
    """Without an answer nothing is touched, not even connected to."""
    result = sparse(project, "run", "--fresh", "-e", "nowhere")
    assert result.exit_code == 1
    assert "Delete all results and state of words in Redis (redis://127.0.0.1:1/0)" in result.output
    assert "does not answer" not in result.output


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (["results", "by_lenght"], 'no component "by_lenght" in words.py; did you mean "by_length"?'),
        (["results", "long"], "long keeps no results; it passes records on"),
        (["results", "zzz"], "with results are: by_length, by_both, overall"),
        (["bench", "zzz"], 'no benchmark "zzz"; there are: none'),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(project: Path, verb: list[str], expected: str) -> None:
    """Before any server is started."""
    refused(sparse(project, *verb), expected)
    assert not (project / ".stormline").exists()


class NoRows:
    """Results of which there are none, so without an example."""

    def rows(self, component: str) -> Iterator[object]:
        return iter(())


@pytest.mark.parametrize(
    ("component", "text", "value"),
    [("by_length", "4", 4), ("by_both", '["ab", 4]', ("ab", 4))],
)
def test_a_key_is_read_as_the_type_of_its_field(project: Path, component: str, text: str, value: object) -> None:
    """A number for a field of type int, a JSON array for a key of two fields."""
    from stormline.cli.results import _key

    assert _key(spec_of(project, component), text, NoRows()) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("component", "text", "expected"),
    [
        ("by_length", "four", "--key four is no key of by_length: it is keyed by length (int)"),
        ("by_both", "ab", "it is keyed by text (str), length (int), together a JSON array"),
        ("by_both", '["ab"]', "is no key of by_both"),
        ("overall", "4", "overall has no key"),
    ],
)
def test_a_key_of_another_type_is_refused_with_the_right_one(
    project: Path, component: str, text: str, expected: str
) -> None:
    """What came, and what the key is made of."""
    from stormline.cli.results import _key

    with pytest.raises(SettingsError) as caught:
        _key(spec_of(project, component), text, NoRows())  # type: ignore[arg-type]
    assert expected in str(caught.value)


def spec_of(project: Path, component: str) -> object:
    loaded = topologies.load(find_project(project), None)
    return next(spec for spec in loaded.topology.specs if spec.name == component)


@pytest.mark.parametrize(
    ("where", "line", "expected"),
    [
        ("topologies/words.py", "import no_such_module", "topologies/words.py, line 1: ModuleNotFoundError"),
        (
            "src/words_parts.py",
            "x = 1 / 0",
            "src/words_parts.py, line 1: ZeroDivisionError: division by zero\n    x = 1 / 0",
        ),
        ("src/words_parts.py", "def broken(:", "src/words_parts.py, line 1: SyntaxError"),
        ("topologies/words.py", "from words_parts import Wrods", "cannot import name 'Wrods'"),
    ],
)
def test_a_topology_that_does_not_import_is_told_with_file_and_line(
    project: Path, where: str, line: str, expected: str
) -> None:
    """The innermost line of the user's own files, not of the framework."""
    path = project / where
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(SettingsError) as caught:
        topologies.load(find_project(project), None)
    assert expected in str(caught.value)


def test_a_fault_found_by_the_framework_is_told_with_the_users_line(project: Path) -> None:
    """A keyed bolt without inputs: the framework's words, the line of the topology."""
    path = project / "topologies" / "words.py"
    path.write_text(TOPOLOGY.replace("All.spec(inputs=[long])", "All.spec()"))
    refused(sparse(project, "run"), "topologies/words.py, line 9: All.spec() needs inputs", "overall = All.spec()")


def test_a_wrong_setting_of_a_component_is_told_with_its_place_once(project: Path) -> None:
    """The framework has found the line; it is not said a second time."""
    path = project / "src" / "words_parts.py"
    path.write_text(WORDS.replace('tumbling("1h")', "3"))
    with pytest.raises(SettingsError) as caught:
        topologies.load(find_project(project), None)
    assert str(caught.value).count("words_parts.py") == 1
    assert "words_parts.py:16" in str(caught.value)


def test_which_topology_is_meant(project: Path) -> None:
    """The only one needs no name and can run as another app; of two the name must be said, a typo is noticed. A
    main one is meant where none is named, and for a name that is like none of them."""
    assert topologies.choose(find_project(project), None) == ("words", "words")
    assert topologies.choose(find_project(project), "trial") == ("words", "trial")
    (project / "topologies" / "letters.py").write_text(TOPOLOGY)
    assert topologies.choose(find_project(project), "letters") == ("letters", "letters")
    for name, expected in (
        (None, "several topologies, and config.json names no main one; say which with -n: letters, words"),
        ("word", 'did you mean "words"?'),
        ("trial", 'no topology "trial"; say which with -n: letters, words'),
    ):
        with pytest.raises(SettingsError) as caught:
            topologies.choose(find_project(project), name)
        assert expected in str(caught.value)

    content = json.loads((project / "config.json").read_text())
    (project / "config.json").write_text(json.dumps(content | {"main": "words"}))
    assert topologies.choose(find_project(project), None) == ("words", "words")
    assert topologies.choose(find_project(project), "letters") == ("letters", "letters")
    assert topologies.choose(find_project(project), "trial") == ("words", "trial")
    with pytest.raises(SettingsError, match='no topology "lettres"; did you mean "letters"?'):
        topologies.choose(find_project(project), "lettres")


def test_an_app_that_is_stored_can_be_read_whatever_its_name(project: Path) -> None:
    """
    A name near a topology's is no typo if Redis has an app of it; it is read by the topology that has made it, which
    need not be the main one, and can be resumed.
    """
    (project / "topologies" / "letters.py").write_text(TOPOLOGY.replace("by_both", "by_all"))
    content = json.loads((project / "config.json").read_text())
    (project / "config.json").write_text(json.dumps(content | {"main": "words"}))
    letters = topologies.load(find_project(project), "letters").topology
    with stored(find_project(project), find_project(project).environment("embedded"), print) as store:
        store.set("{words-1}:graph", graph_fingerprint(letters))
        store.set("{words-2}:graph", "of an earlier version")
        store.mset({"{words-1}:halt": "no reason", "{words-1}:run": 1})
        read = sparse(project, "results", "-n", "words-1")
        earlier = sparse(project, "results", "-n", "words-2")
        resumed = sparse(project, "resume", "-n", "words-1")
        typo = sparse(project, "results", "-n", "words-3")
    assert read.stdout.splitlines() == ["by_length", "by_all", "overall"], read.output
    assert earlier.stdout.splitlines() == ["by_length", "by_both", "overall"], earlier.output
    assert "words-1 may go on. It had halted: no reason" in resumed.output
    refused(typo, 'no topology "words-3"; did you mean "words"?')


def test_late_records_are_shown_with_their_origin(project: Path) -> None:
    """
    The newest, with the count of all there ever were: as a table, as JSON, of one key.
    """

    def late(number: int, key: int) -> str:
        record = {"text": "wide", "length": key}
        where = {"partition": "words:id/0", "offset": number}
        return json.dumps({"number": number, "key": key, "window": "1h", "time_ms": number, "record": record, **where})

    words = topologies.load(find_project(project), "words").topology
    with stored(find_project(project), find_project(project).environment("embedded"), print) as store:
        store.set("{words}:graph", graph_fingerprint(words))
        store.hset("{words:by_length:3}:slot", "late", 12)
        store.hset("{words:by_length:3}:late", mapping={"7": late(7, 4), "8": late(8, 5)})
        table = sparse(project, "results", "by_length", "--late")
        newest = sparse(project, "results", "by_length", "--late", "--json", "--limit", "1")
        of_key = sparse(project, "results", "by_length", "--late", "--key", "4")
        none = sparse(project, "results", "overall", "--late")
    heading, first, _, count = table.stdout.splitlines()
    assert heading.split() == ["time", "kind", "key", "origin", "record"]
    assert first.split()[-4:] == ["1h", "4", "words/0/7", '{"text":"wide","length":4}']
    assert count == "12 late records of by_length for words; 2 of them are kept"
    (line,) = newest.stdout.splitlines()
    assert json.loads(line)["origin"] == "words/0/8"
    assert json.loads(line)["time"] == "1970-01-01T00:00:00.008Z"
    assert of_key.stdout.splitlines()[1:] == [
        first,
        "12 late records of by_length for words; 1 of them are kept, of this key",
    ]
    assert none.stdout == "0 late records of overall for words; 0 of them are kept\n"
    refused(sparse(project, "results", "--late"), "say of which COMPONENT")


def test_a_main_topology_that_is_not_there_is_told(project: Path) -> None:
    """The setting, what it says, what was meant; whatever is run."""
    content = json.loads((project / "config.json").read_text())
    (project / "config.json").write_text(json.dumps(content | {"main": "wrods"}))
    refused(sparse(project, "run", "-n", "words"), 'config.json: main: no topology "wrods"; did you mean "words"?')


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("[1]", "summary must be a list of Top(...) and Rows(...), got [1]"),
        ('[Rows("by_lenght")]', 'no component with results is called "by_lenght"; did you mean "by_length"?'),
    ],
)
def test_a_summary_that_cannot_be_shown_is_refused_at_the_start(project: Path, summary: str, expected: str) -> None:
    """Not after the run, when it would be too late."""
    path = project / "topologies" / "words.py"
    path.write_text(f"from stormline import Rows\n{TOPOLOGY}    summary = {summary}\n")
    with pytest.raises(SettingsError) as caught:
        topologies.load(find_project(project), None)
    assert expected in str(caught.value)


def test_a_fault_of_ours_is_told_as_such(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """An exception that is no StormlineError: exit code 70, and how to see the traceback."""
    monkeypatch.setattr("stormline.cli.config.find_project", lambda start: [][0])
    refused(sparse(project, "bench"), "IndexError", "--debug", code=70)


def test_debug_lets_the_traceback_through(project: Path) -> None:
    """With --debug the exception itself comes out."""
    result = CliRunner().invoke(commands.sparse, ["--debug", "--project", str(project), "run", "-e", "zzz"])
    assert isinstance(result.exception, SettingsError)


def test_the_benchmarks_are_listed_with_their_first_line(project: Path) -> None:
    """`bench` without a name runs nothing."""
    (project / "benchmarks").mkdir()
    (project / "benchmarks" / "walk.py").write_text('"""How far one walks."""\nraise SystemExit(3)\n')
    assert sparse(project, "bench").stdout.split(maxsplit=1) == ["walk", "How far one walks.\n"]
    assert sparse(project, "bench", "walk").exit_code == 3


def test_what_ends_a_feed_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that refuses the topic on its own thread raises where the run asks whether it is done."""
    from stormline.connectors import feed
    from stormline.connectors.feed_file import CsvFile
    from stormline.connectors.feed_settings import FeedSettings

    refusal = StateError("the topic holds something else")

    def refuse(self: object) -> None:
        raise refusal

    monkeypatch.setattr(feed.Feed, "run", refuse)
    monkeypatch.setattr("stormline.connectors.redis.set_ends", lambda *arguments: None)
    settings = FeedSettings("words", CsvFile(Path("words.csv"), "text", "time"), 1)
    feeding = Feeding([settings], None, brokers="127.0.0.1:1", app="words", rate=None, say=print)  # type: ignore[arg-type]
    feeding.start()
    for thread in threading.enumerate():
        if thread.name == "feed":
            thread.join(timeout=30)
    with pytest.raises(StateError) as caught:
        assert feeding.done is None
    assert caught.value is refusal


def test_figures_count_from_the_start_of_the_program() -> None:
    """The start is taken when the package is imported, before anything heavy."""
    assert isinstance(STARTED_S, float)
