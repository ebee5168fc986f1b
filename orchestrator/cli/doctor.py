"""joulemark doctor: what there is to measure with, and what is missing where."""

from __future__ import annotations

import sys

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option
from joulemark.orchestrator.doctor import NodeView, lines, record, view
from joulemark.orchestrator.inventory import this_machine

SOMETHING_MISSING = 3


@click.command()
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Look at all nodes of this Ray cluster (auto, ray-head:6379), not at this machine.",
)
@json_option
def doctor(cluster: str | None, as_json: bool) -> None:
    r"""Show accelerators, meters, engines and clocks of this machine or a cluster, and what is missing.

    Beside each thing that is missing stands the command that fixes it. Nothing is started, installed or changed. Ends
    with 3 where a node lacks something without which nothing can be measured on it.

    \b
      joulemark doctor
      joulemark doctor --cluster ray-head:6379 --json
    """
    nodes = _cluster(cluster) if cluster else [_here()]
    if as_json:
        found = [record(n) for n in nodes]
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"nodes": found}), indent=1) + b"\n")
    else:
        print("\n".join(lines(nodes)))
    if not all(n.healthy for n in nodes):
        sys.exit(SOMETHING_MISSING)


def _here() -> NodeView:
    from joulemark.agents.checkup import check_up

    machine = this_machine()
    return view(machine, check_up(machine.node))


def _cluster(address: str) -> list[NodeView]:
    from joulemark.orchestrator import ray_environment

    ray_environment.prepare(address)
    from joulemark.orchestrator import ray_doctor, ray_session

    with ray_session.session(address):
        return ray_doctor.look(ray_session.nodes(), ray_session.labels(), lambda t: print(t, file=sys.stderr))
