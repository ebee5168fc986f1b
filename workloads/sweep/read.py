"""The sweep file, from text to a checked Sweep. Every error names file, line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from joulemark.workloads.cell import APART, BESIDE
from joulemark.workloads.document import Item, check_schema, parse_document, read_text_file
from joulemark.workloads.sweep.axes import read_axes, read_exclusions, read_inclusions
from joulemark.workloads.sweep.engine_fields import engine_settings
from joulemark.workloads.sweep.model import Axis, Measure, Sweep
from joulemark.workloads.sweep.values import LINK
from joulemark.workloads.sweep.workload_fields import workload_value
from joulemark.workloads.sweep.workload_model import WorkloadAsk

KEYS = ("schema", "name", "matrix", "exclude", "include", "workload", "measure", "slo", "engines")
PHASES = ("together", "isolate")
ISOLATIONS = ("node", "gpu")
CLIENTS = (BESIDE, APART)
ALL_NODES = "all"
SLO_KEYS = tuple(
    f"{what}_{part}" for what in ("ttft", "tpot", "itl", "e2e") for part in ("mean", "p50", "p90", "p95", "p99")
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def load_sweep(path: Path) -> Sweep:
    """Return the sweep in the file ``path``; paths in it start at its folder.

    Raises BadInput (one line with file, line and column) for a file that cannot be read or is wrong, NewerSchema for
    one that a newer joulemark wrote.
    """
    return parse_sweep(read_text_file(path, "sweep"), str(path), path.resolve().parent)


def parse_sweep(text: str, name: str, folder: Path | None = None) -> Sweep:
    """Return the sweep in ``text``; ``name`` is what messages call it, ``folder`` (here) where its paths start."""
    base = folder or Path.cwd()
    top = parse_document(text, name)
    check_schema(top, "a sweep file")
    fields = top.fields(KEYS, "the sweep file", required=("name", "matrix"))
    axes = read_axes(fields["matrix"])
    _check_models(axes, fields["matrix"])
    workload = workload_value(fields["workload"]) if "workload" in fields else WorkloadAsk({})
    _check_workload(workload, axes, top)
    return Sweep(
        name=_name(fields["name"]),
        axes=axes,
        workload=workload,
        measure=_measure(fields["measure"]) if "measure" in fields else Measure(),
        exclude=read_exclusions(fields["exclude"]) if "exclude" in fields else (),
        include=read_inclusions(fields["include"], axes) if "include" in fields else (),
        slo=_slo(fields["slo"]) if "slo" in fields else {},
        engines=engine_settings(fields["engines"], base) if "engines" in fields else {},
        text=text,
        source=name,
        folder=base,
    )


def _name(item: Item) -> str:
    name = item.text("name")
    if not _NAME.fullmatch(name):
        raise item.error(f"the name {name!r} becomes part of file names: letters, digits, '.', '_' and '-', at most 64")
    return name


def _check_models(axes: tuple[Axis, ...], matrix: Item) -> None:
    named = any(a.name == "model" or (a.name == LINK and all("model" in v for v in a.values)) for a in axes)
    if not named:
        raise matrix.error("the matrix lacks the axis 'model'")


def _check_workload(workload: WorkloadAsk, axes: tuple[Axis, ...], top: Item) -> None:
    """Every point needs both lengths: from the axis, or else from the sweep's own workload; or from a file."""
    asks = [v for a in axes if a.name == "workload" for v in a.values]
    linked = [v.get("workload") for a in axes if a.name == LINK for v in a.values]
    if linked and any(v is not None for v in linked):
        asks += [v if v is not None else WorkloadAsk({}) for v in linked]
    for ask in asks or [WorkloadAsk({})]:
        fields = {key: value for key, value in ask.over(workload).fields.items() if value is not None}
        if "trace" in fields or "prompts" in fields:
            continue
        for key in ("input_tokens", "output_tokens"):
            if key not in fields:
                raise top.error(f"no {key} is given: write 'workload: {{input_tokens: 1024, output_tokens: 256}}'")


def _measure(item: Item) -> Measure:
    known = ("repeats", "starts", "order", "warmup", "window", "isolation", "nodes", "phases", "client")
    fields = item.fields(known, "measure")
    defaults = Measure()
    window_s = fields["window"].duration_s("window") if "window" in fields else defaults.window_s
    if window_s <= 0:
        raise fields["window"].error("window must be longer than nothing")
    return Measure(
        repeats=fields["repeats"].whole("repeats", least=1) if "repeats" in fields else defaults.repeats,
        starts=fields["starts"].whole("starts", least=1) if "starts" in fields else defaults.starts,
        order=_only(fields, "order", defaults.order),
        warmup_s=fields["warmup"].duration_s("warmup") if "warmup" in fields else defaults.warmup_s,
        window_s=window_s,
        isolation=fields["isolation"].one_of(ISOLATIONS, "isolation") if "isolation" in fields else defaults.isolation,
        nodes=_nodes(fields["nodes"]) if "nodes" in fields else defaults.nodes,
        client=fields["client"].one_of(CLIENTS, "place of the load client") if "client" in fields else defaults.client,
        phases=fields["phases"].one_of(PHASES, "way to measure phases") if "phases" in fields else defaults.phases,
    )


def _nodes(item: Item) -> int | None:
    """Return on how many nodes each cell is measured; None for all."""
    return None if item.value == ALL_NODES else item.whole("nodes ('all', or how many)", least=1)


def _only(fields: Mapping[str, Item], key: str, there: str) -> str:
    """Words of which only one is there yet; accepting others would promise what is not done."""
    if key in fields and fields[key].text(key) != there:
        raise fields[key].error(f"{key} {fields[key].value!r} is not there yet; only {there!r} is")
    return there


def _slo(item: Item) -> dict[str, float]:
    fields = item.fields(SLO_KEYS, "slo")
    return {key: value.duration_s(key) for key, value in fields.items()}
