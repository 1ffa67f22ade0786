"""Another number of slots, in the middle of the main job."""

from faults.conftest import Project
from oracle import purchases


def test_another_number_of_slots_loses_and_repeats_nothing(project: Project) -> None:
    """
    Stopped half-way, refused with what to do, respread, and run to its end: the results are those of the file.
    """
    project.slow()
    stopped = project.sparse("run", "-t", "4", "--rate", "10000")
    assert 0 == stopped.returncode, stopped.stdout + stopped.stderr
    assert "69,659 read" not in stopped.stdout
    topology = project.root / "topologies" / "purchases.py"
    few = """class PurchasesTopology(Topology):
    config = {"stormline.slots": 5}
"""
    topology.write_text(topology.read_text().replace("class PurchasesTopology(Topology):\n", few))

    refused = project.sparse("run")
    assert 0 != refused.returncode
    assert "has 64 slots, and stormline.slots is 5 now: `sparse reslot -n purchases`" in refused.stderr
    changed = project.sparse("reslot", "-n", "purchases")
    assert 0 == changed.returncode, changed.stderr
    assert "had 64 slots and has 5" in changed.stdout
    assert "purchases has 5 slots already" in project.sparse("reslot").stdout

    last = project.sparse("run")
    assert 0 == last.returncode, last.stdout + last.stderr
    for component, rows in purchases.rows().items():
        assert rows == purchases.parsed(project.sparse("results", component, "--json").stdout), component
