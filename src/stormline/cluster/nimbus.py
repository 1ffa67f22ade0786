"""A client of Nimbus: streamparse's Thrift interface over one connection, to the Nimbus that leads."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from stormline.cluster import ssh
from stormline.cluster.nimbus_settings import Address, NimbusSettings, Security, Tls
from stormline.core.errors import ServerError

CHUNK: Final = 307_200
"""Bytes of one upload call; Nimbus refuses frames above 1 MiB."""
TIMEOUT_MS: Final = 10_000
_PAUSE_S: Final = 0.3

LEADERSHIP: Final = """
struct NimbusSummary { 1: string host, 2: i32 port, 4: bool isLeader, 5: string version, 6: i32 tlsPort }
struct SupervisorAssignments {}
exception AuthorizationException { 1: required string msg }
service Leader {
  NimbusSummary getLeader() throws (1: AuthorizationException aze);
  SupervisorAssignments getSupervisorAssignments(1: string node) throws (1: AuthorizationException aze);
}
"""
"""Storm 2's words for who leads; streamparse's interface is older. The second call only the leader answers."""


@contextmanager
def connect(
    host: str,
    port: int,
    timeout_ms: int = TIMEOUT_MS,
    service: Any = None,
    *,
    security: Security = None,
    name: str | None = None,
) -> Iterator[Any]:
    """A client with Nimbus's Thrift calls, or those of `service`; `name` as in `nimbus_transport.opened`.

    Raises ServerError if the connection fails or breaks; a call raises thriftpy2's TException with Nimbus's refusals.
    """
    from thriftpy2.protocol import TBinaryProtocolFactory
    from thriftpy2.thrift import TClient

    from stormline.cluster import nimbus_transport

    transport = nimbus_transport.opened(Address(host, port), timeout_ms, security, name)
    try:
        protocol = TBinaryProtocolFactory().get_protocol(transport)  # type: ignore[no-untyped-call]
        yield TClient(service or wire().Nimbus, protocol)
    finally:
        transport.close()


@contextmanager
def connect_leader(settings: NimbusSettings, timeout_ms: int = TIMEOUT_MS) -> Iterator[Any]:
    """A client of the Nimbus that leads, found through the seeds.

    If there is none yet (one was killed, another has not taken over) it is looked for until `timeout_ms` is over.
    Raises ServerError: nobody there, no leader, not a Nimbus of Storm 2, or what Nimbus answers to a call in the block.
    """
    from thriftpy2.thrift import TException

    with ExitStack() as stack:
        client = _leader(settings, timeout_ms, stack)
        try:
            yield client
        except TException as error:
            raise ServerError(refusal(error)) from error


def refusal(error: Exception) -> str:
    """What Nimbus says in an exception of a call, in words."""
    said = getattr(error, "msg", None) or getattr(error, "message", None) or str(error)
    kind = type(error).__name__
    if kind == "AuthorizationException":
        return f"Nimbus does not allow it: {said}"
    if kind == "TApplicationException":
        return f"Nimbus failed: {said} (its log has more)"
    return f"Nimbus refuses ({kind.removesuffix('Exception')}): {said}"


def leads(host: str, port: int, timeout_ms: int) -> bool:
    """Whether this Nimbus is the leader by its own knowledge; raises as `connect` does, also if it is not.

    `getLeader` reads ZooKeeper, where a Nimbus that was killed leads until its session ends; one started in its place
    has the same address, is no leader, and tells Supervisors that nothing is assigned to them.
    """
    with connect(host, port, timeout_ms, _leadership()) as client:
        return client.getSupervisorAssignments("localhost") is not None


def upload(client: Any, jar: Path, told: Callable[[int], None] = lambda sent: None) -> str:
    """The place of the jar on Nimbus, for `submit`. `told` hears of the bytes sent so far.

    One that is broken off leaves a file in Nimbus's inbox, which Nimbus clears, and nothing else.
    """
    place: str = client.beginFileUpload()
    with jar.open("rb") as file:
        while chunk := file.read(CHUNK):
            client.uploadChunk(place, chunk)
            told(file.tell())
    client.finishFileUpload(place)
    return place


def submit(client: Any, name: str, place: str, topology: Any, conf: Mapping[str, Any], *, active: bool = True) -> None:
    """Start `topology` (a StormTopology) under `name`; `place` is what `upload` returned."""
    status = wire().TopologyInitialStatus
    options = wire().SubmitOptions(initial_status=status.ACTIVE if active else status.INACTIVE)
    client.submitTopologyWithOpts(name, place, json.dumps(conf), topology, options)


def kill(client: Any, name: str, wait_s: int = 0) -> None:
    """Ask for its end; its workers have gone when it is in the cluster's list no more, and a moment later."""
    client.killTopologyWithOpts(name, wire().KillOptions(wait_secs=wait_s))


def _leader(settings: NimbusSettings, timeout_ms: int, stack: ExitStack) -> Any:
    """A client of the leader, closed by `stack`."""
    until = time.monotonic() + timeout_ms / 1000
    while True:
        faults: list[str] = []
        waiting = False
        for seed in settings.seeds:
            try:
                with ExitStack() as trial:
                    client, fault = _through(seed, settings, timeout_ms, trial)
                    if client is not None:
                        stack.push(trial.pop_all())
                        return client
                    waiting = True
            except ServerError as error:
                fault = str(error)
            faults.append(fault)
        if not waiting or time.monotonic() > until:
            break
        time.sleep(_PAUSE_S)
    told = "\n".join(f"  {fault}" for fault in dict.fromkeys(faults))
    how = ", through ssh" if settings.ssh is not None else ""
    raise ServerError(f'no Nimbus of environment "{settings.environment}" can be used{how}:\n{told}', retriable=waiting)


def _through(seed: Address, settings: NimbusSettings, timeout_ms: int, stack: ExitStack) -> tuple[Any, str]:
    """(a client of the leader, "") if `seed` is it or leads to it; (None, why not) while there is none."""
    asked = _reach(seed, settings, timeout_ms, stack)
    leader = _elected(asked, seed)
    if leader is None:
        return None, f"{seed}: a Nimbus, but no leader is elected yet"
    port = leader.tlsPort if isinstance(settings.security, Tls) else leader.port
    advertised = Address(leader.host, port or seed.port)
    itself = _leads(asked, seed)
    if itself or (itself is None and advertised == seed):
        return _nimbus(asked), ""
    if advertised == seed:
        return None, f"{seed}: does not lead yet"
    try:
        with ExitStack() as trial:
            found = _reach(advertised, settings, timeout_ms, trial)
            if _leads(found, advertised) is False:
                return None, f"{seed}: the leader is to be {advertised}, which does not lead yet"
            stack.push(trial.pop_all())
            return _nimbus(found), ""
    except ServerError as error:  # the name may be known only where Nimbus runs; one of the seeds may be the same
        if itself is None and _is_alone(asked):
            return _nimbus(asked), ""
        return None, f"{seed}: is not the leader; that is to be {advertised}, but {error}"


def _reach(address: Address, settings: NimbusSettings, timeout_ms: int, stack: ExitStack) -> Any:
    """A client that asks who leads."""
    host, port = address
    if settings.ssh is not None:
        host, port = "127.0.0.1", stack.enter_context(ssh.tunnel(address.host, address.port, settings.ssh))
    there = connect(host, port, timeout_ms, _leadership(), security=settings.security, name=address.host)
    return stack.enter_context(there)


def _elected(asked: Any, seed: Address) -> Any:
    """The leader as ZooKeeper has it, or None."""
    from thriftpy2.thrift import TApplicationException, TException

    try:
        return asked.getLeader()
    except TApplicationException as error:
        if error.type == TApplicationException.MISSING_RESULT:
            return None
        if error.type == TApplicationException.UNKNOWN_METHOD:
            raise ServerError(f"{seed}: Nimbus is too old, it does not know `getLeader`; Storm 2 is needed") from error
        raise ServerError(f"{seed}: {refusal(error)}") from error
    except TException as error:
        raise ServerError(f"{seed}: {refusal(error)}") from error


def _leads(asked: Any, at: Address) -> bool | None:
    """Whether it is the leader by its own knowledge; None if it tells that to Supervisors alone."""
    from thriftpy2.thrift import TApplicationException, TException

    try:
        asked.getSupervisorAssignments("localhost")
        return True
    except TApplicationException as error:
        if error.type == TApplicationException.UNKNOWN_METHOD:
            raise ServerError(f"{at}: Nimbus is too old, it is no Storm 2") from error
        return error.type == TApplicationException.MISSING_RESULT
    except TException:
        return None


def _is_alone(asked: Any) -> bool:
    return len(_nimbus(asked).getClusterInfo().nimbuses) == 1


def _nimbus(asked: Any) -> Any:
    """All of Nimbus's calls on the same connection."""
    from thriftpy2.thrift import TClient

    return TClient(wire().Nimbus, asked._iprot)  # noqa: SLF001 - thriftpy2 has no other way


@functools.cache
def _leadership() -> Any:
    import io

    import thriftpy2

    return thriftpy2.load_fp(io.StringIO(LEADERSHIP), module_name="stormline_leader_thrift").Leader


def wire() -> Any:
    """Storm's Thrift types; streamparse makes them when it is imported, so nothing is known of them before."""
    from streamparse import thrift

    return thrift
