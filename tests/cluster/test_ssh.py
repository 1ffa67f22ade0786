"""The verbs that go to the workers' machines, and the tunnel to Nimbus, through a real sshd on this machine.

It needs sshd (Debian, Ubuntu: apt install openssh-server), on 127.0.0.2, which no verb takes for this machine.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from cluster.honest_nimbus import HonestNimbus
from cluster.on_cluster import Verbs, until

from stormline.cluster import hosts, ssh, worker_logs
from stormline.cluster.nimbus import connect_leader
from stormline.cluster.nimbus_settings import Address, NimbusSettings
from stormline.cluster.settings import Settings
from stormline.cluster.ssh import Ssh
from stormline.cluster.worker_logs import Place
from stormline.core.errors import ServerError
from stormline.embedded.ports import free_port

MACHINE = "127.0.0.2"
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class Sshd(NamedTuple):
    port: int
    folder: Path

    @property
    def access(self) -> Ssh:
        return Ssh(getpass.getuser(), self.port)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """With keys of its own; the ssh that the verbs find knows them, and nothing of this user's."""
    missing = "no sshd" if SSHD is None else "127.0.0.2 is Linux's" if sys.platform != "linux" else None
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing}: apt install openssh-server")
    if SSHD is None or missing:
        pytest.skip(f"NOT TESTED, the verbs that use ssh: {missing}")
    folder = tmp_path_factory.mktemp("ssh")
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    server = {
        "Port": port,
        "ListenAddress": MACHINE,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
    }
    client = {"IdentityFile": folder / "user", "IdentitiesOnly": "yes", "UserKnownHostsFile": folder / "known_hosts"}
    key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[{MACHINE}]:{port} {key}\n")
    for path, lines in ((folder / "server", server), (folder / "client", client)):
        path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "client"} "$@"\n')
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None  # sshd asks for it when root starts it
    command = [SSHD, "-D", "-e", "-f", str(folder / "server")]
    with (folder / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(command, stderr=log)
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        try:
            until(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, (folder / "log").read_text()
            yield Sshd(port, folder)
        finally:
            process.terminate()
            process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection((MACHINE, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def place(sshd: Sshd, tmp_path: Path) -> Place:
    """Logs of two runs of "words" and of others whose names begin or end alike."""
    for path, text in (
        ("words-1-1700000000/6700/worker.log", "old\n"),
        ("words-2-1700000001/6700/worker.log", "one\ntwo\nthree\n"),
        ("words-2-1700000001/6700/worker.log.1", "rotated\n"),
        ("words-2-1700000001/6700/worker.yaml", "worker: 1\n"),
        ("words-2-3-1700000001/6700/worker.log", "of words-2\n"),
        ("more-words-2-1700000001/6700/worker.log", "of more-words\n"),
        ("pystorm_words_count_3_77.log", "pystorm\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return Place([MACHINE], [str(tmp_path)], sshd.access)


def paths(files: list[worker_logs.LogFile], root: Path) -> list[str]:
    return [str(Path(file.path).relative_to(root)) for file in files]


def test_a_command_runs_there_with_its_input_and_its_failure_is_told(sshd: Sshd) -> None:
    """Whatever is in it reaches the shell there as it is; status and stderr come back."""
    assert "it's a $HOME; 'x'\n" == hosts.run(MACHINE, "cat", sshd.access, stdin="it's a $HOME; 'x'\n")
    with pytest.raises(ServerError, match=r"127\.0\.0\.2: `echo no >&2; exit 3` ended with status 3: no"):
        hosts.run(MACHINE, "echo no >&2; exit 3", sshd.access)


def test_a_machine_that_lets_nobody_in_is_told(sshd: Sshd) -> None:
    """With what ssh says, and where user and port come from; all machines are tried."""
    with pytest.raises(ServerError) as caught:
        hosts.on_each([MACHINE, "127.0.0.3"], lambda host: hosts.run(host, "true", Ssh("nobody-here", sshd.port)))
    assert "ssh does not reach 127.0.0.2: nobody-here@127.0.0.2: Permission denied" in str(caught.value)
    assert "ssh does not reach 127.0.0.3: ssh: connect to host 127.0.0.3 port" in str(caught.value)


def test_logs_are_found_by_the_whole_name(place: Place, tmp_path: Path) -> None:
    """Of every run, and those of pystorm; not those of a topology whose name is longer."""
    names = ["pystorm_words_count_3_77.log", "words-1-1700000000/6700/worker.log"]
    last = "words-2-1700000001/6700/worker.log"
    assert [*names, last, f"{last}.1"] == paths(worker_logs.find(place, "words"), tmp_path)
    assert ["words-2-3-1700000001/6700/worker.log"] == paths(worker_logs.find(place, "words-2"), tmp_path)
    assert [f"{last}.1"] == paths(worker_logs.find(place, "words", pattern=r"\.\d+$"), tmp_path)
    assert "words-2-1700000001/6700/worker.yaml" in paths(worker_logs.find(place, "words", artifacts=True), tmp_path)
    (file,) = worker_logs.find(place, "words", pattern=r"2-17.*worker\.log$")
    assert (MACHINE, 14, "words-2-1700000001") == (file.host, file.bytes, file.topology_id)
    assert "one\ntwo\nthree\n" == worker_logs.content(place, file)


def test_following_shows_each_files_lines_until_the_connection_ends(place: Place, sshd: Sshd, tmp_path: Path) -> None:
    """The headings of `tail` are not taken for lines; no process is left there; an end from there is told."""
    files = worker_logs.find(place, "words", pattern=r"worker\.log$")
    shown: list[tuple[str, str]] = []

    def show(file: worker_logs.LogFile, line: str) -> None:
        shown.append((file.path, line))
        if line == "three":
            with Path(file.path).open("a") as log:
                log.write("four\n")
        if line == "four":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker_logs.follow(place, files, 2, show)
    assert [(files[1].path, line) for line in ("two", "three", "four")] == [each for each in shown if each[1] != "old"]
    assert (files[0].path, "old") in shown
    until(lambda: not followers(tmp_path))

    def cut(file: worker_logs.LogFile, line: str) -> None:
        for pid in followers(tmp_path):
            with suppress(ProcessLookupError):  # that of the line before
                os.kill(pid, 15)

    with pytest.raises(ServerError, match=r"following the logs on 127\.0\.0\.2 has ended"):
        worker_logs.follow(place, files, 1, cut)


def followers(folder: Path) -> list[int]:
    """The `tail` processes on files of this folder."""
    return running("tail", str(folder))


def running(program: str, argument: str) -> list[int]:
    """The processes of `program` with `argument` in one of theirs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if command[0].endswith(program) and any(argument in word for word in command[1:]):
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("end", [hosts.stop, subprocess.Popen.kill], ids=["stop", "death"])
@pytest.mark.parametrize("machine", [MACHINE, "localhost"])
def test_a_program_that_goes_on_ends_with_what_started_it(
    sshd: Sshd, machine: str, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    """Even one that writes nothing, so that it could not notice: when it is stopped, and when our end dies."""
    seconds = str(1_000_000 + free_port())
    with hosts.start(machine, f"sleep {seconds}", sshd.access) as process:
        until(lambda: running("sleep", seconds))
        end(process)
    until(lambda: not running("sleep", seconds))


def test_removing_keeps_what_a_running_topology_writes(place: Place, tmp_path: Path) -> None:
    """Of the one that runs files are emptied; folders that are empty then go too; others' files stay."""
    found = worker_logs.find(place, "words", pattern="words-")
    removed, emptied = worker_logs.remove(place, found, {"words-2-1700000001"})
    assert ["words-1-1700000000/6700/worker.log"] == paths(removed, tmp_path)
    assert {file.topology_id for file in emptied} == {"words-2-1700000001"}
    assert not (tmp_path / "words-1-1700000000").exists()
    assert b"" == (tmp_path / "words-2-1700000001/6700/worker.log").read_bytes()
    assert "of words-2\n" == (tmp_path / "words-2-3-1700000001/6700/worker.log").read_text()


def test_the_verbs_read_logs_through_ssh(place: Place, sshd: Sshd, settings: Settings, tmp_path: Path) -> None:
    """By the environment's keys: workers, user, ssh_port, log_path; the running log of the last run."""
    env = {"workers": [MACHINE], "user": getpass.getuser(), "ssh_port": sshd.port}
    verbs = Verbs(tmp_path / "project", settings, **env)
    told = verbs("tail", "-n", "words", "-l", "1", "--path", place.folders[0])
    last = tmp_path / "words-2-1700000001/6700/worker.log"
    assert f"==> {MACHINE}:{last} <==\nthree\n" in told
    assert "old" not in told
    target = tmp_path / "here"
    told = verbs("logs", "-n", "words", "--to", str(target), "--path", place.folders[0], "--json")
    copies = [Path(json.loads(line)["copy"]) for line in told.splitlines()]
    assert 4 == len(copies)
    assert all(copy.is_file() for copy in copies)
    assert "old\n" == (target / MACHINE / str(tmp_path / "words-1-1700000000/6700/worker.log").lstrip("/")).read_text()


def test_nimbus_is_reached_through_a_tunnel(sshd: Sshd) -> None:
    """Its port is asked for on the far machine's loopback, and the tunnel ends with the block."""
    with HonestNimbus().listening() as nimbus:
        nimbus.elected = (MACHINE, nimbus.port)
        there = NimbusSettings("prod", (Address(MACHINE, nimbus.port),), ssh=sshd.access)
        with connect_leader(there) as client:
            assert 1 == len(client.getClusterInfo().nimbuses)
            assert tunnels(nimbus.port)
        assert [] == tunnels(nimbus.port)


def tunnels(port: int) -> list[str]:
    """Command lines of ssh that forward to `port`."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if f":localhost:{port} " in line]


def test_a_tunnel_that_cannot_be_made_is_told(sshd: Sshd) -> None:
    """By what ssh says: the seed, and that ssh was the way."""
    there = NimbusSettings("prod", (Address(MACHINE, 6627),), ssh=Ssh("nobody-here", sshd.port))
    with pytest.raises(ServerError, match=r"can be used, through ssh:\n.*Permission denied"), connect_leader(there):
        pass


def test_update_virtualenv_makes_it_there_and_installs(
    sshd: Sshd, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From virtualenvs/NAME.txt, in virtualenv_root/NAME; again it is only brought up to date, or made anew."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    root = tmp_path / "venvs"
    env = {"workers": [MACHINE], "user": getpass.getuser(), "ssh_port": sshd.port, "virtualenv_root": str(root)}
    verbs = Verbs(tmp_path / "project", settings, **env)
    (verbs.root / "topologies" / "words.py").write_text("")
    missing = verbs.call("update_virtualenv")
    assert 2 == missing.exit_code
    assert "no requirements file" in missing.output
    (verbs.root / "virtualenvs").mkdir()
    (verbs.root / "virtualenvs" / "words.txt").write_text(f"# what words needs\n{wheel(tmp_path, 'tiny', '1.0')}\n")
    verbs("update_virtualenv")
    python = root / "words" / "bin" / "python"
    assert "1.0\n" == version(python)
    marker = root / "words" / "marker"
    marker.touch()
    (verbs.root / "virtualenvs" / "words.txt").write_text(f"{wheel(tmp_path, 'tiny', '2.0')}\n")
    assert str(root / "words") == verbs.json("update-virtualenv", "-n", "words")["virtualenv"]
    assert "2.0\n" == version(python)
    assert marker.exists()
    (verbs.root / "virtualenvs" / "words.txt").write_text(f"{tmp_path}/none-1.0-py3-none-any.whl\n")
    failed = verbs.call("update-virtualenv", "--overwrite_virtualenv")
    assert 1 == failed.exit_code
    assert f"error: {MACHINE}: " in failed.output
    assert "none-1.0" in failed.output
    assert not marker.exists()


def wheel(folder: Path, name: str, number: str) -> Path:
    """The smallest that pip takes."""
    path = folder / f"{name}-{number}-py3-none-any.whl"
    info = f"{name}-{number}.dist-info"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(f"{name}.py", f"NUMBER = '{number}'\n")
        content.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        content.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def version(python: Path) -> str:
    command = [str(python), "-c", "import tiny; print(tiny.NUMBER)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_without_an_ssh_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rather than a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="apt install openssh-client"):
        hosts.run("far.invalid", "true", Ssh())
    with pytest.raises(Exception, match="apt install openssh-client"), ssh.tunnel("far.invalid", 6627, Ssh()):
        pass


def test_sudo_is_used_only_for_another_user() -> None:
    """As stock's sudo_user; the command arrives as one word."""
    assert "rm x" == hosts.as_user("rm x", None, "storm")
    assert "rm x" == hosts.as_user("rm x", "storm", "storm")
    assert "sudo -n -u root sh -c 'rm x'" == hosts.as_user("rm x", "root", "storm")
