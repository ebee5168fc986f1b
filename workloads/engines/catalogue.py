"""The engines by name: their default versions, the requirement sets they run from, and what each accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Cell, Deployment
from joulemark.workloads.engines import simulated
from joulemark.workloads.engines.adapter import Engine
from joulemark.workloads.engines.common import common_refusal
from joulemark.workloads.engines.endpoint import UNDECLARED, Endpoint
from joulemark.workloads.engines.llamacpp import LlamaCpp
from joulemark.workloads.engines.sglang import Sglang
from joulemark.workloads.engines.simulated import Simulated
from joulemark.workloads.engines.span import span_refusal
from joulemark.workloads.engines.vllm import Vllm
from joulemark.workloads.nearest import suggestion
from joulemark.workloads.precision import QUANTIZATIONS


class KnownEngine(Engine, Protocol):
    """An engine that also knows, before anything starts, what it can be asked for."""

    quantizations: tuple[str, ...]
    kv_types: tuple[str, ...]
    default_kv_type: str
    default_slots: int
    """Requests that it is made ready to work on at the same time where no concurrency says so."""

    def argument_name(self, key: str) -> str:
        """Return an engine argument in the one spelling that identity is made of."""

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why the engine cannot be asked for ``deployment``, or None."""


@dataclass(frozen=True)
class Listed:
    """An engine, and the version of it that joulemark takes where the user names none.

    ``cpu_version`` is that of a build for the CPU alone, which has a requirement set of its own; ``on_cpu`` says that
    the engine needs no such build.
    """

    engine: KnownEngine
    version: str
    cpu_version: str | None = None
    on_cpu: bool = False


ENGINES: dict[str, Listed] = {
    listed.engine.name: listed
    for listed in (
        Listed(LlamaCpp(), "2026.10.11549", on_cpu=True),
        Listed(Vllm(), "0.33.0", cpu_version="0.32.0"),
        Listed(Sglang(), "0.5.23", cpu_version="0.5.23"),
        Listed(Endpoint(), UNDECLARED, on_cpu=True),
        Listed(Simulated(), simulated.VERSION),
    )
}

ENGINE_NAMES = tuple(ENGINES)


def engine_named(name: str) -> KnownEngine:
    """Return the engine called ``name``. Raises BadInput for any other name."""
    return _listed(name).engine


def slots_of(cell: Cell) -> int:
    """Return how many requests the engine is to work on at the same time."""
    workload = cell.workload
    return workload.concurrency or workload.max_in_flight or engine_named(cell.deployment.engine.name).default_slots


def default_version(name: str, on_cpu: bool) -> str:
    """Return the version of the engine that joulemark installs where the user names none."""
    listed = _listed(name)
    return (listed.cpu_version if on_cpu else None) or listed.version


def environment_set(name: str, version: str, on_cpu: bool) -> str:
    """Return the name of the pinned requirement set that holds the engine in ``version``."""
    cpu_build = _listed(name).cpu_version is not None and on_cpu
    return f"{name}-cpu-{version}" if cpu_build else f"{name}-{version}"


def has_cpu_build(name: str) -> bool:
    """Return whether the engine runs on the CPU without an environment of the user's: installed by us, or there."""
    listed = _listed(name)
    return listed.on_cpu or listed.cpu_version is not None


def online_method(name: str, quantization: str) -> str | None:
    """Return the engine's argument ``quantization`` that makes ``quantization`` from unquantized weights on loading.

    None where it cannot.
    """
    needs = QUANTIZATIONS[quantization].engines.get(name)
    return needs.online if needs is not None else None


def refusal(deployment: Deployment) -> str | None:
    """Return why the deployment's engine cannot be asked for it, or None."""
    engine = engine_named(deployment.engine.name)
    if deployment.quantization not in engine.quantizations:
        return f"{engine.name} has no quantization {deployment.quantization}"
    if deployment.kv_type not in engine.kv_types:
        return f"{engine.name} has no KV-cache type {deployment.kv_type}"
    if deployment.on_cpu and deployment.power_limit_w is not None:
        return "a power limit needs a GPU"
    if deployment.on_cpu and deployment.engine.args.get("cuda_graphs") is True:
        return "CUDA graphs need a GPU"
    # What an endpoint is said to run with is declared in whatever words.
    lacking = common_refusal(deployment.engine.args, engine.name) if engine.name != Endpoint.name else None
    return lacking or span_refusal(deployment) or engine.refusal(deployment)


def _listed(name: str) -> Listed:
    if name not in ENGINES:
        raise BadInput(f"no engine is called {name!r}: {suggestion(name, ENGINES)}")
    return ENGINES[name]
