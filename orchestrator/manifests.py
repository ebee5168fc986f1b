"""Make the manifest of a trial from what was asked and what the agent gave back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from joulemark.agents.orders import NodeFacts, StartResult, TrialResult
from joulemark.orchestrator.plan import Wanted
from joulemark.warehouse.schema.identity import device_set_id, trial_id
from joulemark.warehouse.schema.trial import EngineRecord, NodePart, TrialManifest
from joulemark.workloads.engines.simulated import Simulated
from joulemark.workloads.models.catalogue import licence_of
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.traffic.tables import Tables


@dataclass(frozen=True)
class SweepFacts:
    """What all trials of a sweep share."""

    name: str
    repeats: int
    starts: int
    models: dict[str, ModelFacts | None]
    tables: Tables = field(default_factory=Tables)
    """The files that workloads name."""


def name_of(trial: Wanted, node: str, devices: tuple[str, ...], attempt: int) -> str:
    """Return the trial's id on these devices."""
    return trial_id(trial.cell.cell_id, device_set_id(node, devices), trial.start, trial.repeat, attempt)


def all_devices(own: tuple[str, ...], others: tuple[NodePart, ...]) -> tuple[str, ...]:
    """Return the devices of a deployment: those of the node that leads, and by their nodes' names those of others."""
    return (*own, *(f"{part.node}/{device}" for part in others for device in part.devices))


def manifest(
    trial: Wanted,
    attempt: int,
    sweep: SweepFacts,
    node: NodeFacts,
    result: TrialResult,
    engine: EngineRecord | None,
    mismatches: tuple[str, ...] = (),
) -> TrialManifest:
    """Return the commit record of a trial."""
    facts = sweep.models.get(trial.cell.deployment.model.name)
    reasons = (*result.reasons, *(("config_mismatch",) if mismatches else ()))
    return TrialManifest(
        trial=name_of(trial, node.node, all_devices(result.part.devices, result.others), attempt),
        cell=trial.cell.cell_id,
        deployment=trial.cell.deployment.deployment_id,
        sweep=sweep.name,
        start=trial.start,
        repeat=trial.repeat,
        attempt=attempt,
        factors=trial.cell.factors,
        planned_repeats=sweep.repeats,
        planned_starts=sweep.starts,
        outcome=result.outcome,
        reasons=reasons,
        nodes=(result.part, *result.others),
        started_us=result.started_us,
        ended_us=result.ended_us,
        model=_model(facts, trial.cell.deployment.model.name),
        failure_class=result.failure_class,
        error=result.error or ("; ".join(mismatches) or None),
        engine=engine,
        client=result.client,
        traces=result.traces,
        versions=node.versions,
        simulated=trial.cell.deployment.engine.name == Simulated.name,
    )


def not_started(trial: Wanted, node: NodeFacts, start: StartResult) -> TrialResult:
    """Return the result of a trial whose engine did not start."""
    part = NodePart(node.node, node.boot, start.devices, trial.cell.deployment.accelerator)
    return TrialResult(
        "failed",
        (),
        part,
        start.started_us,
        start.ended_us,
        failure_class=start.failure_class,
        error=start.error,
        engine_log=start.engine_log,
        others=start.others,
    )


def lost(
    trial: Wanted,
    node: NodeFacts,
    devices: tuple[str, ...],
    others: tuple[NodePart, ...],
    started_us: int,
    ended_us: int,
    error: str,
) -> TrialResult:
    """Return the result of a trial whose node was lost; the instants are as good as the driver knows them."""
    part = NodePart(node.node, node.boot, devices, trial.cell.deployment.accelerator)
    return TrialResult("failed", (), part, started_us, ended_us, failure_class="node_lost", error=error, others=others)


def _model(facts: ModelFacts | None, name: str) -> dict[str, Any]:
    licence = licence_of(name)
    return {**(asdict(facts) if facts is not None else {}), **({"licence": licence} if licence else {})}
