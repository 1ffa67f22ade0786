"""What a submit is going to do, known and found in order before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stormline.cli import shipping, topologies
from stormline.cli.config import Environment, Project
from stormline.cli.nimbus import choose_environment
from stormline.cli.settings import from_the_command_line
from stormline.cli.starting import keeps_state
from stormline.cli.storm_conf import faults_of, servers_conf, storm_conf
from stormline.cli.worker_python import WorkerPython, asked_here, worker_python
from stormline.cluster import commands, deploy, jar, nimbus_settings
from stormline.cluster.nimbus_settings import NimbusSettings
from stormline.components.chaining import chained, senders
from stormline.components.graph import reads_results, slots
from stormline.components.keys import SLOTS_KEY
from stormline.components.wiring import BATCH
from stormline.core.errors import SettingsError

if TYPE_CHECKING:
    from stormline.cli.submit import Options
    from stormline.cli.topologies import Loaded

Tell = Callable[[str], None]


@dataclass
class Plan:
    """`conf` may still be changed by hooks; without `topology.workers` it is one a machine."""

    loaded: Loaded
    app: str
    """Its name on the cluster, in Redis and in Kafka."""
    env: Environment
    nimbus: NimbusSettings
    python: WorkerPython
    requirements: Sequence[Path]
    """What the workers need, as pip reads it; none: only what the framework itself needs."""
    stateful: bool
    conf: dict[str, Any]
    structure: Any
    """The StormTopology to send, but for the commands that start the components."""


def plan(project: Project, said: Options) -> Plan:
    """Raises SettingsError with every fault of the environment, the name and the configuration."""
    env = choose_environment(project, said.env_name)
    given = from_the_command_line(
        said.options, workers=said.workers, inline=False, multilang=False, debug=said.debug, seed=None
    )
    if said.ackers is not None:
        given["topology.acker.executors"] = said.ackers
    loaded = topologies.load(project, said.name)
    app = said.override_name or loaded.app
    stateful = keeps_state(loaded.topology)
    faults: list[str] = []

    def found(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except SettingsError as error:
            faults.extend(error.faults)
            return None

    found(lambda: deploy.require_name(app))
    nimbus = found(lambda: nimbus_settings.read(env.name, env.stock, project.root, os.environ))
    python = found(lambda: worker_python(env, app))
    conf = found(lambda: storm_conf(loaded.topology, env, given, original=loaded.path.stem, stateful=stateful))
    servers = found(lambda: servers_conf(env)) if stateful else {}
    struct = found(lambda: commands.for_environment(loaded.topology.thrift_topology, env.name))
    requirements = shipping.requirement_files(project, loaded, said.requirements)
    if python is not None and python.virtualenv is not None and not requirements:
        faults.append(
            f"the virtualenv on the workers is to be installed (install_virtualenv), and there is no requirements file "
            f"{project.virtualenvs / loaded.path.stem}.txt; write it, or name one with -r"
        )
    if said.local_jar and said.remote_jar:
        faults.append("-j and -R: give one JAR")
    if not faults:
        python = found(lambda: asked_here(python, env, nimbus))
    if faults:
        raise SettingsError(*faults)
    if stateful:
        tracked = reads_results(loaded.topology)
        conf = {"stormline.bounded": False, **conf, **servers, "stormline.app": app, "stormline.tracked": tracked}
        conf[SLOTS_KEY] = found(lambda: slots(loaded.topology))
        if tracked:  # a result that is a long float is one of these to Storm, and may go to another worker
            conf.setdefault("topology.kryo.register", ["java.math.BigDecimal"])
    return Plan(loaded, app, env, nimbus, python, requirements, stateful, conf, struct)


def jar_of(project: Project, plan: Plan, said: Options, target: Path, tell: Tell) -> Path | None:
    """The JAR to send: the one given, or one made at `target`; None if it is on Nimbus. Then the plan has the commands
    that start the components in it. Hooks have been called: what they have changed is looked at."""
    faults = faults_of(plan.conf, stateful=plan.stateful)
    if faults:
        raise SettingsError(*faults)
    made = said.local_jar
    if made is None and said.remote_jar is None:
        client = plan.env.kafka.client if plan.stateful and plan.env.kafka is not None else None
        made = shipping.build(project, plan.loaded, plan.python, plan.requirements, target, tell, client)
    elif made is not None and jar.is_ours(made):
        shipping.require_found(plan.loaded, made, plan.python, "its requirements")
    ours = made is None or jar.is_ours(made)
    stock = None if plan.python.wheels is not None else f"{plan.python.command.rpartition('/')[0]}/streamparse_run"
    commands.set_commands(plan.structure, python=plan.python.command if ours else None, stock=stock)
    commands.require_small(plan.structure, plan.conf)
    return made


def shown(plan: Plan, made: Path | None) -> Iterator[str]:
    """The topology, its configuration and what is in the JAR, for a reader."""
    yield f"{plan.app}, from {plan.loaded.path.name}, for the environment {plan.env.name}:"
    components = commands.components(plan.structure)
    below = {str(each.name): each for each in chained(plan.loaded.topology)}
    sends = senders(plan.loaded.topology)
    for name in sorted([*components, *below]):
        if name in below:
            yield f"  {name}  (bolt, chained: in the executors of {below[name].head.name})"
            yield f"    from {below[name].above.name}, stream {BATCH}"
            continue
        common = components[name].common
        kind = "spout" if name in plan.structure.spouts else "bolt"
        yield f"  {name}  ({kind}, {common.parallelism_hint or 1} executors)"
        for source, grouping in sorted(common.inputs.items(), key=lambda item: (item[0].componentId, item[0].streamId)):
            read = (source.componentId, source.streamId)
            whose, stream = sends.get(read, read)
            yield f"    from {whose}, stream {stream}, {_grouping(grouping)}"
    yield ""
    yield "Configuration:"
    yield from (f"  {key}: {value!r}" for key, value in sorted(_without_numbers(plan.conf).items()))
    yield ""
    if made is None:
        yield "The JAR is on Nimbus already"
        return
    yield f"JAR, {made.stat().st_size:,} bytes:"
    yield from (f"  {name}  {files} files, {size:,} bytes" for name, files, size in jar.listing(made))


def _without_numbers(conf: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"topology.workers": "one a machine", **conf}


def _grouping(grouping: Any) -> str:
    if grouping.fields is not None:
        return f"fields {', '.join(grouping.fields)}" if grouping.fields else "global"
    kinds = ("shuffle", "all", "none", "direct", "local_or_shuffle", "custom_object", "custom_serialized")
    return next(kind for kind in kinds if getattr(grouping, kind, None) is not None)
