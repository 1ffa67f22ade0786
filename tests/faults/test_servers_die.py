"""A server dies in the middle of the main job: the run says so, goes on, and the results are those of the file."""

import json
import os
import signal

import pytest
from faults.conftest import Project
from oracle import purchases


@pytest.mark.parametrize("server", ["redis", "kafka"])
def test_a_killed_server_is_restarted_and_changes_no_result(project: Project, server: str) -> None:
    """
    SIGKILL to an embedded server while records flow: it comes back with its data, and the run ends by itself, exact.
    """
    project.slow()
    run = project.start("run")
    assert run.stdout is not None
    lines = []
    for line in run.stdout:
        lines.append(line)
        if line.split()[:1] == ["monthly"] and line.split()[2] not in ("0", "-"):
            break
    servers = json.loads((project.root / ".stormline" / "servers.json").read_text())
    os.killpg(servers[server]["group"], signal.SIGKILL)
    lines += run.stdout.readlines()

    assert run.wait() == 0, "".join(lines)
    told = [line for line in lines if line.startswith(server.title()) and "it runs again" in line]
    assert told, "".join(lines)
    for component, rows in purchases.rows().items():
        assert rows == purchases.parsed(project.sparse("results", component, "--json").stdout), component
