"""`sparse list`, `worker-uptime`, `slot-usage`: what runs on a cluster, and where."""

from __future__ import annotations

import click

from stormline.cli import nimbus, tables


@click.command("list", short_help="List the topologies on a cluster.")
@nimbus.on_cluster
def list_(at: nimbus.Target, as_json: bool) -> None:
    """List the topologies on a cluster."""
    from stormline.cluster import topologies

    with nimbus.leader(at) as client:
        found = topologies.listed(client)
    if as_json:
        tables.tell_json(found)
    elif not found:
        click.echo("No topology runs on this cluster")
    else:
        headings = ("topology", "status", "id", "owner", "uptime", "workers", "executors", "tasks")
        rows = [
            (each.name, each.status, each.id, each.owner or "-", tables.duration(each.uptime_s))
            + (str(each.workers), str(each.executors), str(each.tasks))
            for each in found
        ]
        tables.show("", headings, rows, left=4)


@click.command("worker-uptime", short_help="Show how long each worker on a cluster has been up.")
@nimbus.on_cluster
def worker_uptime(at: nimbus.Target, as_json: bool) -> None:
    """Show how long each worker on a cluster has been up. One younger than its topology was started again."""
    from stormline.cluster import topologies

    with nimbus.leader(at) as client:
        found = topologies.workers(client, topologies.listed(client))
    if as_json:
        tables.tell_json(found)
    elif not found:
        click.echo("No worker runs on this cluster")
    else:
        rows = [
            (each.topology, each.host, str(each.port), tables.duration(each.uptime_s), str(each.executors))
            for each in found
        ]
        tables.show("", ("topology", "host", "port", "uptime", "executors"), rows, left=2)


@click.command("slot-usage", short_help="Show which topologies take the slots of each machine.")
@nimbus.on_cluster
def slot_usage(at: nimbus.Target, as_json: bool) -> None:
    """Show the slots of each machine, and how many workers (and executors) each topology has there."""
    from stormline.cluster import topologies

    with nimbus.leader(at) as client:
        found = topologies.slots(client)
    if as_json:
        tables.tell_json(found)
        return
    names = sorted({name for each in found for name in each.topologies})
    rows = [
        (each.host, str(each.slots), str(each.used), str(each.slots - each.used))
        + tuple("{} ({})".format(*each.topologies.get(name, (0, 0))) for name in names)
        for each in found
    ]
    if not rows:
        click.echo("No Supervisor has reported to this Nimbus: there are no slots, and nothing can run")
    else:
        tables.show("", ("host", "slots", "used", "free", *names), rows)
