"""What this node is: CPU, memory, GPUs, meters, versions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import psutil

from joulemark import __version__
from joulemark.agents.clock import NodeClock
from joulemark.agents.meters.cpu_watts import CPUINFO, cpu_facts
from joulemark.agents.orders import NodeFacts

LIBRARIES = ("duckdb", "httptools", "nvidia-ml-py", "pyarrow", "ray", "uvloop")


def node_facts(
    node: str,
    clock: NodeClock,
    meters: Mapping[str, dict[str, Any]],
    warnings: tuple[str, ...] = (),
    ended_leftovers: int = 0,
) -> NodeFacts:
    """Return the facts of this node; ``meters`` is what the sampler found."""
    boards: dict[str, str] = {
        uuid: name for meter in ("nvml", "simulated") for uuid, name in meters.get(meter, {}).get("boards", {}).items()
    }
    cpu = cpu_facts(CPUINFO.read_text())
    return NodeFacts(
        node=node,
        boot=clock.boot,
        now_us=clock.now_us(),
        cpu=cpu.get("model name", platform.machine()),
        logical_cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        accelerators=tuple(boards.values()),
        devices=tuple(boards),
        driver=meters.get("nvml", {}).get("driver"),
        meters=dict(meters),
        versions=versions(),
        warnings=warnings,
        ended_leftovers=ended_leftovers,
    )


def versions() -> dict[str, str]:
    """Return the versions of joulemark, Python, the kernel and the libraries that the figures pass through."""
    return {
        "joulemark": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        **{name: version(name) for name in LIBRARIES},
    }


def node_row(facts: NodeFacts) -> dict[str, Any]:
    """Return the row of the ``nodes`` dataset."""
    return {
        "node": facts.node,
        "boot": facts.boot,
        "t": facts.now_us,
        "cpu": facts.cpu,
        "logical_cpus": facts.logical_cpus,
        "memory_bytes": facts.memory_bytes,
        "accelerators": list(facts.accelerators),
        "devices": list(facts.devices),
        "driver": facts.driver,
        "meters": json.dumps(facts.meters),
        "versions": json.dumps(facts.versions),
    }
