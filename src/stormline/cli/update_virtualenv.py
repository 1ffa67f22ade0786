"""`sparse update-virtualenv`: a topology's virtualenv on the machines of the workers."""

from __future__ import annotations

from pathlib import Path

import click

from stormline.cli import nimbus, tables
from stormline.core.errors import SettingsError


@click.command("update-virtualenv", short_help="Make or update a topology's virtualenv on the workers' machines.")
@click.option("-n", "--name", help="The topology. Without: the project's main one, or its only one.")
@click.option("-N", "--override-name", help="The virtualenv's name, if it is to be another.")
@click.option(
    "-r",
    "--requirements",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A requirements file. Default: NAME.txt in virtualenv_specs of config.json. May be repeated.",
)
@click.option("--overwrite-virtualenv", is_flag=True, help="Make it anew, even if it is there.")
@click.option(
    "-u", "--user", help="Who makes it there, by sudo. Default: sudo_user of the environment, or who logs in."
)
@click.option("--pool-size", type=click.IntRange(1), default=10, show_default=True, help="Machines at a time.")
@nimbus.on_cluster
def update_virtualenv(
    at: nimbus.Target,
    name: str | None,
    override_name: str | None,
    requirements: tuple[Path, ...],
    overwrite_virtualenv: bool,
    user: str | None,
    pool_size: int,
    as_json: bool,
) -> None:
    """Make the virtualenv VIRTUALENV_ROOT/NAME on each worker's machine, through ssh, and install the requirements.

    `submit` does this too where the environment says so. The machines are `workers` of the environment, or those that
    Nimbus knows.
    """
    from stormline.cli import topologies
    from stormline.cluster import virtualenvs

    stock = at.environment.stock
    topology = topologies.choose(at.project, name)[0]
    given = requirements or (at.project.virtualenvs / f"{topology}.txt",)
    absent = [str(path) for path in given if not path.is_file()]
    if absent:
        raise SettingsError(f"no requirements file {', '.join(absent)}; name one with -r")
    text = "".join(f"{path.read_text().rstrip()}\n" for path in given)
    called = override_name or stock.get("virtualenv_name") or name or topology
    root = stock.get("virtualenv_root") or stock.get("virtualenv_path")
    virtualenv = virtualenvs.Virtualenv.named(root, called, stock.get("virtualenv_flags"))
    machines = stock.get("workers")
    if not machines:
        with nimbus.leader(at) as client:
            machines = sorted({each.host for each in client.getClusterInfo().supervisors})
    virtualenvs.update(
        machines,
        at.access,
        virtualenv,
        text,
        overwrite=overwrite_virtualenv,
        user=user or stock.get("sudo_user") or None,
        pool_size=pool_size,
        tell=lambda line: click.echo(line, err=True),
    )
    if as_json:
        tables.tell_json({"virtualenv": virtualenv.path, "hosts": list(machines)})
