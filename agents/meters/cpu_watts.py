"""Idle and full-load watts of this machine's logical CPUs, from a table with sources or from the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class CpuWatts:
    """Watts of all logical CPUs of the machine together, idle and fully loaded, and where they come from."""

    idle_w: float
    full_w: float
    logical_cpus: int
    source: str


def cpu_facts(text: str) -> dict[str, str]:
    """Return the first processor's entries of ``/proc/cpuinfo``."""
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def table_watts(facts: Mapping[str, str], logical_cpus: int) -> CpuWatts:
    """Return the table's watts for a CPU, scaled to ``logical_cpus``; the generic row where it is not listed."""
    text = resources.files("joulemark.agents.meters").joinpath("cpu_watts.yaml").read_text()
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    row = next((r for r in rows if _matches(r, facts)), rows[0])
    return CpuWatts(
        row["idle_w"] * logical_cpus,
        row["full_w"] * logical_cpus,
        logical_cpus,
        f"table of watts per logical CPU, row {row['name']!r}",
    )


def machine_watts(logical_cpus: int, given: tuple[float, float] | None = None) -> CpuWatts:
    """Return this machine's watts: ``given`` (idle, full) of the whole machine, or the table's."""
    if given is not None:
        return CpuWatts(given[0], given[1], logical_cpus, "figures given in site.yaml")
    return table_watts(cpu_facts(CPUINFO.read_text()), logical_cpus)


def _matches(row: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    if row.get("vendor") != facts.get("vendor_id") or str(row.get("family")) != facts.get("cpu family"):
        return False
    low, high = row.get("steppings", (0, 1 << 30))
    model, stepping = facts.get("model", ""), facts.get("stepping", "")
    return model.isdigit() and int(model) in row["models"] and stepping.isdigit() and low <= int(stepping) <= high
