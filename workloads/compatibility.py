"""What cannot work, found before anything is spent: precisions, sizes and shapes that do not go together.

Each check returns a reason or None. They are of what is known of models, engines and accelerators; what is not known
excludes nothing. Unlike what an engine has no word for, these can be overruled: a newer version may do what the
catalogue says that it does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from joulemark.warehouse.units import BYTES_PER_GIB
from joulemark.workloads.accelerators import accelerator, capability_in_words
from joulemark.workloads.cell import Cell, Deployment
from joulemark.workloads.engines.catalogue import environment_set
from joulemark.workloads.engines.endpoint import Endpoint
from joulemark.workloads.engines.simulated import Simulated
from joulemark.workloads.learnt import Failure
from joulemark.workloads.memory import need
from joulemark.workloads.models.catalogue import stored_precision
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS, EngineNeeds
from joulemark.workloads.shapes import shape_reasons

MEMORY_FRACTION = {"vllm": 0.92, "sglang": 0.92}
"""Share of the memory that is for weights and cache where nobody says otherwise: vLLM's own default. SGLang decides by
the board, and takes less."""
TOO_LARGE = "too large"
_FRACTION_ARGUMENTS = ("memory_fraction", "gpu-memory-utilization", "mem-fraction-static")


@dataclass(frozen=True)
class Place:
    """What is known of where cells are to run.

    ``any_accelerator`` is what ``accelerator: any`` stands for. ``memory_bytes`` is the memory of accelerators as they
    were found, by label. ``sets`` are the pinned requirement sets that engines can be installed from, None where that
    is not known. ``failures`` are what earlier trials met, by deployment.
    """

    any_accelerator: str = "any"
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    sets: Collection[str] | None = None
    failures: Mapping[str, Sequence[Failure]] = field(default_factory=dict)


def incompatible(cell: Cell, facts: ModelFacts | None, place: Place, own_environment: bool) -> str | None:
    """Return why the cell cannot work, as far as that is known, or None.

    ``own_environment`` says that the user named an environment for its engine.
    """
    deployment = cell.deployment
    if deployment.engine.name in (Endpoint.name, Simulated.name):
        # The one runs already, the other needs nothing, and has said before what it has no figures for.
        return None
    checks = (
        None if own_environment else _not_installable(deployment, place),
        _accelerator_note(deployment),
        _precision_on_cpu(deployment, facts) if deployment.on_cpu else _precision_on_gpu(deployment),
        _cache_type(deployment),
        *(shape_reasons(deployment, facts) if facts is not None else ()),
        _too_large(cell, facts, place) if facts is not None else None,
    )
    return next((reason for reason in checks if reason is not None), None)


def unpacked(deployment: Deployment) -> str | None:
    """Return what to know of a precision that the accelerator holds but does not compute in, or None."""
    native = QUANTIZATIONS[deployment.quantization].native
    found = accelerator(deployment.accelerator).capability
    if deployment.on_cpu or native is None or found is None or found >= native:
        return None
    return (
        f"{deployment.accelerator} does not compute in {deployment.quantization} (that takes compute capability "
        f"{capability_in_words(native)}, it has {capability_in_words(found)}): weights are unpacked to 16 bits"
    )


def _not_installable(deployment: Deployment, place: Place) -> str | None:
    engine = deployment.engine
    wanted = environment_set(engine.name, engine.version, deployment.on_cpu)
    if place.sets is None or wanted in place.sets:
        return None
    start = environment_set(engine.name, "", deployment.on_cpu)
    versions = (name.removeprefix(start) for name in place.sets if name.startswith(start))
    there = ", ".join(sorted(version for version in versions if version[:1].isdigit()))
    return (
        f"there is no pinned requirement set for {engine.name} {engine.version} (there is: {there or 'none'}); "
        f"name an environment that has it: engines: {{{engine.name}: {{environment: PATH}}}}"
    )


def _accelerator_note(deployment: Deployment) -> str | None:
    note = accelerator(deployment.accelerator).note
    return f"{deployment.accelerator}: {note}" if note else None


def _precision_on_gpu(deployment: Deployment) -> str | None:
    needs = QUANTIZATIONS[deployment.quantization].engines.get(deployment.engine.name)
    found = accelerator(deployment.accelerator).capability
    if needs is None or found is None:
        return None
    made = _is_made(deployment, needs)
    least = needs.online_capability if made else needs.capability
    what = f"{deployment.quantization} in {deployment.engine.name}{' made while loading' if made else ''}"
    has = f"{deployment.accelerator} has {capability_in_words(found)}"
    if least is not None and found < least:
        return f"{what} needs compute capability {capability_in_words(least)}, {has}"
    if needs.gone_at is not None and found >= needs.gone_at:
        return f"{what} is there up to compute capability {capability_in_words(needs.gone_at)} (excluded), {has}"
    return None


def _precision_on_cpu(deployment: Deployment, facts: ModelFacts | None) -> str | None:
    """The CPU builds were tried: what is not in the catalogue failed there, or was not tried."""
    asked = QUANTIZATIONS[deployment.quantization].engines.get(deployment.engine.name)
    made = asked is not None and _is_made(deployment, asked)
    name = deployment.quantization if made else stored_precision(deployment)
    needs = QUANTIZATIONS[name].engines.get(deployment.engine.name)
    if needs is None:
        return None
    runs = needs.cpu_online if made else needs.cpu
    what = f"{deployment.engine.name} on the CPU does not run {name}{' made while loading' if made else ''}"
    if runs == "dense" and facts is not None and facts.architecture == "moe":
        return f"{what} with experts"
    return what if runs is None else None


def _cache_type(deployment: Deployment) -> str | None:
    kind = KV_TYPES.get(deployment.kv_type)
    found = accelerator(deployment.accelerator).capability
    least = kind.capabilities.get(deployment.engine.name) if kind is not None else None
    if deployment.on_cpu or least is None or found is None or found >= least:
        return None
    return (
        f"the KV-cache type {deployment.kv_type} in {deployment.engine.name} needs compute capability "
        f"{capability_in_words(least)}, {deployment.accelerator} has {capability_in_words(found)}"
    )


def _is_made(deployment: Deployment, needs: EngineNeeds) -> bool:
    return needs.online is not None and deployment.engine.args.get("quantization") == needs.online


def _too_large(cell: Cell, facts: ModelFacts, place: Place) -> str | None:
    deployment = cell.deployment
    name = deployment.accelerator
    has = place.memory_bytes.get(name) or accelerator(name).memory_bytes
    if deployment.on_cpu or has is None:
        return None
    fraction = _fraction(deployment)
    needed = need(cell, facts)
    if needed.total <= has * fraction:
        return None
    load = f"{cell.workload.concurrency} requests" if cell.workload.concurrency else "the longest request"
    fewer = ", fewer requests" if needed.kv > needed.weights / 4 else ""
    wants, whole, there = (size / BYTES_PER_GIB for size in (needed.total, has, has * fraction))
    return (
        f"{TOO_LARGE}, by estimate: about {wants:.0f} GiB on each device ({needed}, for {load}), and {fraction:g} of "
        f"the {whole:.0f} GiB of {name} are {there:.0f} GiB: more devices (parallel), a smaller precision{fewer}"
    )


def _fraction(deployment: Deployment) -> float:
    args = deployment.engine.args
    given = next((args[key] for key in _FRACTION_ARGUMENTS if args.get(key) is not None), None)
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    return MEMORY_FRACTION.get(deployment.engine.name, 1.0)
