"""What is known of the GPUs that can be simulated, and what is assumed of all: from two tables with sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from joulemark.workloads.document import parse_document


@dataclass(frozen=True)
class SimulatedGpu:
    """One kind of GPU, as ``gpus.yaml`` says. Rates are a second; ``idle_w`` without and with a program on it."""

    label: str
    peak_flops: Mapping[str, float]
    memory_bytes_per_s: float
    memory_bytes: float
    limit_w: float
    link_bytes_per_s: float
    idle_w: tuple[float, float]
    source: str
    idle_source: str


@dataclass(frozen=True)
class Parameter:
    """An assumption, and where it is from."""

    value: float
    source: str


@cache
def simulated_gpus() -> dict[str, SimulatedGpu]:
    """Return the GPUs of ``gpus.yaml`` by label."""
    return {label: _gpu(label, fields) for label, fields in _table("gpus.yaml").items()}


@cache
def parameters() -> dict[str, Parameter]:
    """Return the assumptions of ``parameters.yaml`` by name."""
    return {n: Parameter(float(f["value"]), str(f["source"])) for n, f in _table("parameters.yaml").items()}


def _table(name: str) -> dict[str, Any]:
    text = files("joulemark.workloads.simulation").joinpath(name).read_text(encoding="utf-8")
    return dict(parse_document(text, name).plain())


def _gpu(label: str, fields: Mapping[str, Any]) -> SimulatedGpu:
    bare, loaded = fields["idle_watts"]
    return SimulatedGpu(
        label=label,
        peak_flops={name: 1e12 * float(value) for name, value in fields["teraflops"].items()},
        memory_bytes_per_s=1e12 * float(fields["memory_tb_s"]),
        memory_bytes=1e9 * float(fields["memory_gb"]),
        limit_w=float(fields["watts"]),
        link_bytes_per_s=1e9 * float(fields["link_gb_s"]),
        idle_w=(float(bare), float(loaded)),
        source=str(fields["source"]),
        idle_source=str(fields["idle_source"]),
    )
