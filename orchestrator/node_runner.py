"""Runs groups of trials on one node, one after the other, and commits every attempt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from joulemark.agents.orders import NodeFacts, StartOrder, StartResult, TrialOrder, TrialResult
from joulemark.orchestrator.manifests import SweepFacts, manifest, name_of, not_started
from joulemark.orchestrator.plan import Group, Wanted, label
from joulemark.orchestrator.progress import NodeLine, Progress
from joulemark.orchestrator.retries import ATTEMPTS, again
from joulemark.warehouse.schema.reasons import FAILURE_CLASSES, REASONS
from joulemark.warehouse.schema.trial import EngineRecord, TrialManifest
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines.catalogue import engine_named
from joulemark.workloads.precision import QUANTIZATIONS
from joulemark.workloads.traffic.make import files_of

OF_THE_CELL = frozenset({"unsupported", "engine_crashed", "out_of_memory", "bad_checkpoint"})
"""Classes of a failure in mid-trial that come again with every repeat."""
UNKNOWN_VOCABULARY = 1000
"""Token ids that every model has, for models whose vocabulary is not known."""
IDLE_SHARE = 0.5
IDLE_S = (2.0, 30.0)
"""Idle power is measured for this share of the window, within these bounds."""


class AgentLike(Protocol):
    """The calls of an agent that a runner makes."""

    def start_engine(self, order: StartOrder) -> StartResult: ...
    def run_trial(self, order: TrialOrder) -> TrialResult: ...
    def stop_engine(self) -> None: ...


@dataclass
class NodeRunner:
    """One node's worker. ``commit`` stores a manifest and returns the reasons against it, none where it is valid."""

    agent: AgentLike
    node: NodeFacts
    sweep: SweepFacts
    commit: Callable[[TrialManifest], tuple[str, ...]]
    attempts: dict[tuple[str, int, int], int]
    """First attempt number that is free, by trial key."""
    progress: Progress
    tell: Callable[[str], None]
    stopping: threading.Event
    taken: Callable[[str], bool] = lambda _: False
    """Whether a trial of this name was committed already, by whomever and in whatever version."""
    _hopeless: dict[str, TrialResult] = field(default_factory=dict)
    """By cell: how a trial of it ended that no other repeat would get past."""
    _engine: EngineRecord | None = None
    _now: str | None = None
    _devices: tuple[str, ...] = ()

    def run(self, group: Group, devices: tuple[str, ...]) -> None:
        """Run the group's trials; the engine is down again when this returns or raises."""
        try:
            for number, trial in enumerate(group.trials):
                if self.stopping.is_set():
                    return
                hopeless = self._trial(group, trial, devices)
                if hopeless is not None:
                    self._give_up(group.trials[number:], hopeless)
                    return
        finally:
            self._down()

    def doing(self, what: str, tokens_per_s: float | None, watts: float | None) -> None:
        """Pass on what the agent says that it does."""
        self.progress.line(NodeLine(self.node.node, what, self._now, tokens_per_s, watts))

    def _trial(self, group: Group, trial: Wanted, devices: tuple[str, ...]) -> StartResult | None:
        """Try one trial until it is valid or not worth more; return the start that no trial of the group gets past."""
        self._now = label(trial.cell)
        hopeless = self._hopeless.get(trial.cell.cell_id)
        if hopeless is not None:
            self._commit(trial, self._as(trial, hopeless), None)
            self._settled_as("failed")
            return None
        for made in range(1, ATTEMPTS + 1):
            begun = time.monotonic()
            failed = self._up(group, devices)
            if failed is not None and failed.failure_class is not None:
                if failed.failure_class == "interrupted":
                    # Nothing was measured, so there is nothing to commit.
                    self.stopping.set()
                    return None
                if not FAILURE_CLASSES[failed.failure_class][1]:
                    return failed
                result, engine = self._not_started(trial, failed), failed.engine
            elif self.stopping.is_set():
                # The order to stop came while the engine started: there is no running trial to finish.
                return None
            else:
                result, engine = self._attempt(trial), self._engine
            reasons = self._commit(trial, result, engine)
            self._count(trial, result, reasons, time.monotonic() - begun)
            if result.outcome == "failed":
                self._down()
                if result.failure_class in OF_THE_CELL:
                    self._hopeless[trial.cell.cell_id] = result
            if self.stopping.is_set() or not again(result.failure_class, reasons, made):
                break
        self.progress.settled()
        return None

    def _attempt(self, trial: Wanted) -> TrialResult:
        facts = self.sweep.models.get(trial.cell.deployment.model.name)
        attempt = self._next_free(trial, self._devices)
        name = name_of(trial, self.node.node, self._devices, attempt)
        seed = (trial.start << 20) + (trial.repeat << 10) + attempt
        vocabulary = facts.vocab if facts is not None else UNKNOWN_VOCABULARY
        tables = self.sweep.tables.only(files_of(trial.cell.workload))
        return self.agent.run_trial(TrialOrder(name, trial.cell, vocabulary, seed, tables))

    def _not_started(self, trial: Wanted, start: StartResult) -> TrialResult:
        result = not_started(trial, self.node, start)
        self._next_free(trial, result.part.devices)
        return result

    def _next_free(self, trial: Wanted, devices: tuple[str, ...]) -> int:
        """Return the number of the attempt, from now on the one in ``attempts``: no file of another is replaced."""
        attempt = self.attempts.get(trial.key, 0)
        while self.taken(name_of(trial, self.node.node, devices, attempt)):
            attempt += 1
        self.attempts[trial.key] = attempt
        return attempt

    def _up(self, group: Group, devices: tuple[str, ...]) -> StartResult | None:
        """Have the engine running; return how its start failed, None where it runs."""
        if self._engine is not None:
            return None
        window_s = group.trials[0].cell.window.window_s
        idle_s = min(max(IDLE_SHARE * window_s, IDLE_S[0]), IDLE_S[1])
        order = StartOrder(
            group.deployment, group.slots, group.context_tokens, devices, idle_s, self._weight_bytes(group.deployment)
        )
        started = self.agent.start_engine(order)
        if started.failure_class is not None:
            return started
        self._engine, self._devices = started.engine, started.devices
        return None

    def _weight_bytes(self, deployment: Deployment) -> float | None:
        facts = self.sweep.models.get(deployment.model.name)
        return facts.total_params * QUANTIZATIONS[deployment.quantization].bits / 8 if facts is not None else None

    def _down(self) -> None:
        self._engine = None
        self.agent.stop_engine()

    def _commit(self, trial: Wanted, result: TrialResult, engine: EngineRecord | None) -> tuple[str, ...]:
        attempt = self.attempts.get(trial.key, 0)
        self.attempts[trial.key] = attempt + 1
        return self.commit(manifest(trial, attempt, self.sweep, self.node, result, engine, self._mismatches(trial)))

    def _mismatches(self, trial: Wanted) -> tuple[str, ...]:
        if self._engine is None:
            return ()
        engine = engine_named(self._engine.name)
        return tuple(engine.mismatches(trial.cell.deployment, self._engine.reported))

    def _count(self, trial: Wanted, result: TrialResult, reasons: tuple[str, ...], wall_s: float) -> None:
        what = "failed" if result.outcome == "failed" else "invalid" if reasons else "valid"
        self.progress.attempted(what, wall_s)
        why = result.error if what == "failed" else ", ".join(f"{r} ({REASONS.get(r, r)})" for r in reasons)
        self.tell(f"{what}: {label(trial.cell)}, repeat {trial.repeat + 1}" + (f": {why}" if why else ""))
        self._tell_log(result.engine_log)

    def _as(self, trial: Wanted, hopeless: TrialResult) -> TrialResult:
        """Return the result of a repeat that is not tried: that of the one that was, without its traces."""
        self._next_free(trial, hopeless.part.devices)
        part = replace(hopeless.part, window=None)
        return replace(hopeless, part=part, traces=(), client=None, error=f"not tried again: {hopeless.error}")

    def _settled_as(self, what: str) -> None:
        self.progress.attempted(what, self.progress.expected_trial_s)
        self.progress.settled()

    def _give_up(self, trials: tuple[Wanted, ...], start: StartResult) -> None:
        """Commit the failure for every trial: the engine that they share does not start."""
        for trial in trials:
            self._commit(trial, self._not_started(trial, start), start.engine)
            self._settled_as("failed")
        d = trials[0].cell.deployment
        self.tell(f"failed: {d.model.name} {d.quantization} on {d.engine.name} ({len(trials)} trials): {start.error}")
        self._tell_log(start.engine_log)

    def _tell_log(self, log: tuple[str, ...]) -> None:
        """Show what the engine wrote last, below the line that says how it failed."""
        for line in log:
            self.tell(f"    | {line}")
