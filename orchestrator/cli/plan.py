"""joulemark plan: what would run, where, for how long."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from joulemark.orchestrator.cli.options import (
    cluster_option,
    force_option,
    json_option,
    site_option,
    sweep_argument,
    warehouse_option,
)
from joulemark.orchestrator.inventory import suits, this_machine
from joulemark.orchestrator.plan import Group, label
from joulemark.orchestrator.simulate import SweepForecast, forecast
from joulemark.orchestrator.simulate_text import forecast_lines, forecast_record
from joulemark.orchestrator.sweep_work import SweepWork, load_work
from joulemark.orchestrator.terminal import at, duration, ends_at
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.matrix import Omission

NAMED = 8
"""Nodes that are named where there is a choice."""


@click.command()
@sweep_argument
@site_option
@cluster_option
@force_option
@click.option(
    "--simulate",
    is_flag=True,
    help="Forecast rates, energy and cost of every cell with the simulator, also of GPUs that are not here.",
)
@json_option
@warehouse_option
def plan(
    sweep_file: Path,
    site_file: Path | None,
    cluster: str | None,
    force: bool,
    simulate: bool,
    as_json: bool,
    warehouse: str,
) -> None:
    r"""Show what a sweep file asks for: cells, placement, what is excluded and why, time, energy and cost.

    Nothing is started. Trials that the warehouse has already are counted and not planned again.

    \b
      joulemark plan sweep.yaml
      joulemark plan sweep.yaml --site site.yaml --simulate
    """
    work = load_work(sweep_file, site_file, Warehouse.at(warehouse), _nodes(cluster), force=force)
    record = _record(work) if as_json else {}
    lines = [] if as_json else _lines(work)
    if simulate:
        found = _forecast(work)
        record["forecast"] = forecast_record(found, work.site)
        lines += forecast_lines(found, work.site)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        return
    print("\n".join(lines))


def _forecast(work: SweepWork) -> SweepForecast:
    groups = [*work.groups, *(group for group, _ in work.homeless)]
    return forecast(groups, work.expansion.facts, work.expansion.tables, work.site)


def _nodes(cluster: str | None) -> list[Any]:
    if cluster is None:
        return [this_machine()]
    from joulemark.orchestrator import ray_environment

    ray_environment.prepare(cluster)
    from joulemark.orchestrator import ray_session

    with ray_session.session(cluster):
        return ray_session.nodes()


def _lines(work: SweepWork) -> list[str]:
    measure = work.sweep.measure
    left = sum(len(g.trials) for g in work.groups)
    out = [
        f"{work.sweep.name}: {len(work.expansion.cells)} cells, {measure.starts} starts with {measure.repeats} repeats "
        f"each{_on_nodes(measure.nodes)}: {work.wanted} trials, of which {work.had} are done; "
        f"to run: {left} in {len(work.groups)} engine starts",
        "",
    ]
    for group in work.groups:
        out += _group(group, work)
    for group, why in work.homeless:
        out.append(f"  no place for {label(group.trials[0].cell)} ({len(group.trials)} trials): {why}")
    out += _omissions(work)
    out += [f"  note: {w}" for w in (*work.expansion.warnings, *work.have.warnings)]
    return [*out, *(_estimate(work) if left else ["nothing is left to run"])]


def _omissions(work: SweepWork) -> list[str]:
    expansion = work.expansion
    words = {"learnt": "excluded, learnt"}
    out = [f"  {words.get(e.kind, 'excluded')}: {e.what}: {e.why}" for e in expansion.excluded]
    if any(e.can_be_forced for e in expansion.excluded):
        out.append("  (--force runs what failed before, or cannot work by all that is known)")
    return out + [f"  forced: {e.what}: {e.why}" for e in expansion.forced]


def _group(group: Group, work: SweepWork) -> list[str]:
    suited = [n.node for n in work.nodes if suits(group.deployment, n)]
    deployment = group.deployment
    where = _in_words([n for n in suited if group.nodes is None or n in group.nodes], deployment.parallel.nodes)
    head = (
        f"  {deployment.model.name} {deployment.quantization} on {deployment.engine.name} "
        f"{deployment.engine.version}, {deployment.accelerator}, {where}, start {group.start + 1}"
    )
    cells = {t.cell.cell_id: t.cell for t in group.trials}
    counts = {c: sum(t.cell.cell_id == c for t in group.trials) for c in cells}
    return [head, *(f"    {label(cell)}  {counts[c]} x  cell {c}" for c, cell in cells.items())]


def _on_nodes(asked: int | None) -> str:
    return "" if asked == 1 else f" on {asked or 'all'} nodes"


def _in_words(places: list[str], number: int) -> str:
    if len(places) == number:
        return " and ".join(places)
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{'one' if number == 1 else number} of {', '.join(places[:NAMED])}{more}"


def _estimate(work: SweepWork) -> list[str]:
    e = work.estimate
    energy = "energy: not known before something like it was measured"
    if e.energy_kwh is not None and e.electricity is not None:
        energy = (
            f"energy: about {e.energy_kwh * 1000:.3g} Wh at the meters, "
            f"{e.electricity:.3g} {work.site.currency} of electricity at PUE {work.site.pue:g}"
        )
    source = "default prices" if work.site.are_defaults else f"prices of {work.site.name}"
    time = f"time: about {duration(e.wall_s)} on {len(work.nodes)} node(s), {e.basis}"
    return ["", f"{time}; begun now, it would end {at(e.wall_s)}", f"{energy} ({source})"]


def _omission(omission: Omission) -> dict[str, Any]:
    return {"what": omission.what, "reason": omission.why, "kind": omission.kind}


def _record(work: SweepWork) -> dict[str, Any]:
    e = work.estimate
    return {
        "sweep": work.sweep.name,
        "wanted": work.wanted,
        "done": work.had,
        "groups": [
            {
                "deployment": g.deployment.deployment_id,
                "start": g.start,
                "nodes": sorted(
                    n.node for n in work.nodes if suits(g.deployment, n) and (g.nodes is None or n.node in g.nodes)
                ),
                "trials": [{"cell": t.cell.cell_id, "repeat": t.repeat, "label": label(t.cell)} for t in g.trials],
            }
            for g in work.groups
        ],
        "no_place": [{"label": label(g.trials[0].cell), "reason": why} for g, why in work.homeless],
        "excluded": [_omission(e) for e in work.expansion.excluded],
        "forced": [_omission(e) for e in work.expansion.forced],
        "warnings": list(work.expansion.warnings),
        "estimate": {
            "wall_s": e.wall_s,
            "ends_at": ends_at(e.wall_s).isoformat(timespec="seconds"),
            "node_hours": e.node_hours,
            "energy_kwh": e.energy_kwh,
            "electricity": e.electricity,
            "currency": work.site.currency,
            "basis": e.basis,
        },
    }
