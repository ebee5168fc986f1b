"""A cluster as it is found: what each node has, how well its clock is known, and what is missing where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from joulemark import __version__
from joulemark.agents.checkup import Checkup, Finding
from joulemark.agents.clock_offset import Offset
from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.units import US_PER_S

GIB = 1 << 30
FAR_US, UNSURE_US = US_PER_S, 20_000
"""A clock that is this far off misleads people; one that is known no better is a reason against a trial over nodes."""

KEPT = {True: "kept by a time server", False: "kept by nobody", None: "not known who keeps it"}


@dataclass(frozen=True)
class NodeView:
    """One node. ``checkup`` is None where it could not be looked at, and ``findings`` say why.

    ``offset`` is this machine's clock less the node's, None where they are the same. ``labels`` are Ray's.
    """

    node: Node
    checkup: Checkup | None
    offset: Offset | None = None
    labels: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing without which nothing can be measured there."""
        return not any(f.needed for f in self.findings)


def view(
    node: Node, checkup: Checkup, offset: Offset | None = None, labels: Iterable[tuple[str, str]] = ()
) -> NodeView:
    """Return the view of a node that was looked at, with everything that is missing."""
    seen = NodeView(node, checkup, offset, tuple(labels))
    in_cluster = (*_of_gpus(node, checkup), *_of_clock(offset), *_of_version(checkup)) if node.ray_id else ()
    return replace(seen, findings=(*checkup.findings, *in_cluster))


def unreachable(node: Node, error: str, labels: Iterable[tuple[str, str]] = ()) -> NodeView:
    """Return the view of a node that could not be looked at."""
    fix = f"pip install joulemark=={__version__} for the Python that Ray runs with there, and `ray start` once more"
    return NodeView(node, None, None, tuple(labels), (Finding(f"cannot be looked at: {error}", fix, needed=True),))


def lines(nodes: Sequence[NodeView]) -> Iterator[str]:
    """Yield what people read."""
    for seen in nodes:
        yield from _lines(seen)
    kinds = Counter(n.node.accelerator or ("GPU without a label" if n.node.gpus else "no GPU") for n in nodes)
    gpus = sum(n.node.gpus for n in nodes)
    well = sum(n.healthy for n in nodes)
    what = ", ".join(f"{number} x {kind}" for kind, number in kinds.most_common())
    yield f"{len(nodes)} node(s) ({what}), {gpus} GPUs; {well} can measure"


def record(seen: NodeView) -> dict[str, Any]:
    """Return a node for ``--json``."""
    return {
        "node": seen.node.node,
        "healthy": seen.healthy,
        "gpus": seen.node.gpus,
        "accelerator": seen.node.accelerator,
        "labels": dict(seen.labels),
        "clock_offset_us": seen.offset.offset_us if seen.offset else None,
        "clock_uncertainty_us": seen.offset.uncertainty_us if seen.offset else None,
        "checkup": {k: v for k, v in asdict(seen.checkup).items() if k != "findings"} if seen.checkup else None,
        "findings": [asdict(f) for f in seen.findings],
    }


def _of_gpus(node: Node, checkup: Checkup) -> Iterator[Finding]:
    there = len(checkup.gpus)
    if node.gpus and not there:
        yield Finding(
            f"Ray was started with {node.gpus} GPUs, and no driver shows any: only the simulated engine can use them",
            "nvidia-smi",
        )
    elif node.gpus != there:
        yield Finding(
            f"Ray was started with {node.gpus} GPUs, and the driver shows {there}",
            f"ray start --num-gpus={there} ...",
            needed=node.gpus > there,
        )
    if node.gpus and node.accelerator is None:
        yield Finding(
            "its GPUs have no label, so that no sweep can ask for them",
            'ray start --labels="ray.io/accelerator-type=H100" ...',
            needed=True,
        )


def _of_clock(offset: Offset | None) -> Iterator[Finding]:
    if offset is None:
        return
    if abs(offset.offset_us) > FAR_US:
        yield Finding(f"its clock is {-offset.offset_us / US_PER_S:+.1f} s off", "sudo timedatectl set-ntp true")
    if offset.uncertainty_us > UNSURE_US:
        yield Finding(
            f"its clock is known to {offset.uncertainty_us / 1000:.0f} ms only: the network to it is slow",
            "run the driver nearer to the nodes",
        )


def _of_version(checkup: Checkup) -> Iterator[Finding]:
    theirs = checkup.versions.get("joulemark")
    if theirs != __version__:
        what = f"it has joulemark {theirs}, and this is {__version__}"
        yield Finding(what, f"pip install joulemark=={__version__}", needed=True)


def _lines(seen: NodeView) -> Iterator[str]:
    c, node = seen.checkup, seen.node
    gpus = f"{node.gpus} x {node.accelerator or 'GPU without a label'}" if node.gpus else "no GPU"
    yield f"{node.node}: {gpus}" + (f", {c.logical_cpus} x {c.cpu}, {c.memory_bytes / GIB:.0f} GiB" if c else "")
    own = [f"{key}={value}" for key, value in seen.labels if not key.startswith("ray.io/node-")]
    if own:
        yield f"  labels: {', '.join(own)}"
    if c is not None:
        yield from (_meter(name, about) for name, about in c.meters.items())
        made = [name for name, there in c.engines.items() if there]
        others = [name for name, there in c.engines.items() if not there]
        yield f"  engines: {', '.join(made) or 'none'}; made when first used: {', '.join(others) or 'none'}"
        yield f"  clock: {_clock(seen)}; {c.disk_free_bytes / GIB:.0f} GiB of disk free"
    for finding in sorted(seen.findings, key=lambda f: not f.needed):
        yield f"  {'MISSING' if finding.needed else 'better'}: {finding.what}"
        yield f"    {finding.fix}"


def _meter(name: str, about: dict[str, Any]) -> str:
    period = about.get("update_period_s")
    moves = f"new every {1000 * period:.0f} ms" if period else "no period"
    return f"  meter {name}: {', '.join(about['scopes'])} ({', '.join(about['fidelities'])}), {moves}"


def _clock(seen: NodeView) -> str:
    assert seen.checkup is not None
    kept = KEPT[seen.checkup.clock.kept]
    if seen.offset is None:
        return kept
    return f"{-seen.offset.offset_us / 1000:+.1f} ms, known to {seen.offset.uncertainty_us / 1000:.2f} ms, {kept}"
