"""The jars of Storm and Kafka, resolved by Maven on first use, and the loopback agent, compiled here.

    JARS/storm-2.8.3/lib  lib-worker     JARS/kafka-4.1.1/lib     JARS/loopback.jar

A folder appears only when it is whole. Which registry Maven asks is the business of Maven's own settings.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stormline.core.errors import ServerError

AGENT: Final = "loopback.jar"
SCALA: Final = "2.13"
SNAPPY: Final = "1.1.10.5"
"""ZooKeeper's server loads it at its start; Storm's jars come without, as its DevZookeeper does not."""
LOG4J: Final = "2.24.3"
"""Kafka's own POM names no logging backend; this series fits its slf4j 1.7."""
_EVERY: Final = 10
"""Files between two lines of progress."""
Tell = Callable[[str], None]


def fetch(directory: Path, storm_version: str, kafka_version: str, java_home: Path, tell: Tell) -> None:
    """Bring what `directory` lacks, while others who ask for the same wait. Raises ServerError if Maven or the compiler
    fails."""
    directory.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch(directory, storm_version, kafka_version, java_home, tell)


def _fetch(directory: Path, storm_version: str, kafka_version: str, java_home: Path, tell: Tell) -> None:
    storm = directory / f"storm-{storm_version}"
    wanted = [
        (f"Storm {storm_version}", storm / "lib", _storm(storm_version, "storm-core", without="storm-clojure")),
        (f"Storm {storm_version} for workers", storm / "lib-worker", _storm(storm_version, "storm-client")),
        (f"Kafka {kafka_version}", directory / f"kafka-{kafka_version}" / "lib", _kafka(kafka_version)),
    ]
    for title, target, pom in wanted:
        if not target.is_dir():
            _resolve(title, target, pom, tell)
    source = Path(__file__).with_name("Loopback.java")
    agent = directory / AGENT
    if not agent.exists() or agent.stat().st_mtime < source.stat().st_mtime:
        _compile(source, agent, java_home)


def _storm(version: str, artifact: str, without: str | None = None) -> str:
    """The release's own versions of what it depends on come from its parent, imported."""
    group = "org.apache.storm"
    snappy = _dependency("org.xerial.snappy", "snappy-java", SNAPPY) if artifact == "storm-core" else ""
    managed = _dependency(group, "storm", version, "<type>pom</type><scope>import</scope>")
    excluded = ""
    if without is not None:  # its own dependency lies in another repository, and only the Clojure DSL needs it
        inner = f"<groupId>{group}</groupId><artifactId>{without}</artifactId>"
        excluded = f"<exclusions><exclusion>{inner}</exclusion></exclusions>"
    return _pom(
        f"<dependencyManagement><dependencies>{managed}</dependencies></dependencyManagement>"
        f"<dependencies>{_dependency(group, artifact, version, excluded)}{snappy}</dependencies>"
    )


def _kafka(version: str) -> str:
    logging = "org.apache.logging.log4j"
    dependencies = _dependency("org.apache.kafka", f"kafka_{SCALA}", version)
    dependencies += _dependency(logging, "log4j-slf4j-impl", LOG4J) + _dependency(logging, "log4j-core", LOG4J)
    return _pom(f"<dependencies>{dependencies}</dependencies>")


def _dependency(group: str, artifact: str, version: str, more: str = "") -> str:
    place = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
    return f"<dependency>{place}{more}</dependency>"


def _pom(content: str) -> str:
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>stormline</groupId><artifactId>cluster</artifactId><version>1</version><packaging>pom</packaging>"
        f"{content}</project>\n"
    )


def _resolve(title: str, target: Path, pom: str, tell: Tell) -> None:
    tell(f"{title}: Maven resolves its jars, once")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        file, output = Path(scratch) / "pom.xml", Path(scratch) / "lib"
        file.write_text(pom)
        command = ["mvn", "-B", "-f", str(file), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={output}"]
        said = _run(command, title, tell)
        jars = list(output.glob("*.jar"))
        if not jars:
            raise ServerError(f"{title}: Maven ended without an error but brought no jar. It said:\n{said}")
        output.rename(target)
    tell(f"{title}: {len(jars)} jars, {sum(jar.stat().st_size for jar in target.glob('*.jar')) / 1e6:.0f} MB")


def _run(command: list[str], title: str, tell: Tell) -> str:
    """Maven's last lines. Tells of downloads as they go on. Raises ServerError with its errors."""
    lines: list[str] = []
    downloaded = 0
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if (match := re.search(r"Downloaded from .*/([^/ ]+\.jar)", line)) is not None:
                downloaded += 1
                if downloaded % _EVERY == 1:
                    tell(f"{title}: {downloaded} downloaded, last {match.group(1)}")
    except BaseException:
        process.terminate()
        raise
    finally:
        status = process.wait()
    if status == 0:
        return "\n".join(lines[-10:])
    errors = [line for line in lines if line.startswith("[ERROR]")][:6] or lines[-6:]
    told = "\n".join(f"  {line}" for line in errors)
    raise ServerError(
        f"Maven could not bring the jars of {title} (status {status}):\n{told}\n"
        "Put right what it says (its settings are in ~/.m2/settings.xml) and run the same command again; "
        "what is there already is kept",
        retriable=True,
    )


def _compile(source: Path, agent: Path, java_home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=agent.parent, prefix=".compile-") as scratch:
        command = [str(java_home / "bin" / "javac"), "--release", "17", "-d", scratch, str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise ServerError(f"{source.name} does not compile:\n{run.stdout}{run.stderr}")
        jar = Path(scratch) / agent.name
        name = source.stem
        with zipfile.ZipFile(jar, "w") as content:
            manifest = f"Manifest-Version: 1.0\nPremain-Class: {name}\nCan-Retransform-Classes: true\n"
            content.writestr("META-INF/MANIFEST.MF", manifest)
            content.write(Path(scratch) / f"{name}.class", f"{name}.class")
        shutil.move(jar, agent)
