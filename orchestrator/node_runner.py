"""Runs groups of trials in one lane of a node, one after the other, and commits every attempt.

The verdict on a trial comes while the next one runs; one that is worth another attempt is tried again after the others.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from joulemark.agents.orders import NodeFacts, StartOrder, StartResult, TrialOrder, TrialResult
from joulemark.orchestrator.have import AttemptKey
from joulemark.orchestrator.manifests import SweepFacts, all_devices, lost, manifest, name_of, not_started
from joulemark.orchestrator.plan import Group, TrialKey, Wanted, label
from joulemark.orchestrator.progress import NodeLine, Progress
from joulemark.orchestrator.retries import ATTEMPTS, again
from joulemark.orchestrator.verdicts import Verdict
from joulemark.warehouse.errors import NodeLost
from joulemark.warehouse.schema.reasons import FAILURE_CLASSES, REASONS
from joulemark.warehouse.schema.trial import EngineRecord, NodePart, TrialManifest
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
    def stop_engine(self, lane: int) -> None: ...


@dataclass(frozen=True)
class _Measured:
    """A trial that ran to its end and was committed; the verdict is still to come."""

    trial: Wanted
    made: int
    result: TrialResult
    verdict: Verdict
    wall_s: float


@dataclass
class NodeRunner:
    """Runs one engine at a time. ``commit`` stores a manifest and asks for the verdict on it."""

    agent: AgentLike
    node: NodeFacts
    sweep: SweepFacts
    commit: Callable[[TrialManifest], Verdict]
    attempts: dict[AttemptKey, int]
    """First attempt number that is free, by trial and node."""
    progress: Progress
    tell: Callable[[str], None]
    stopping: threading.Event
    taken: Callable[[str], bool] = lambda _: False
    """Whether a trial of this name was committed already, by whomever and in whatever version."""
    losses: dict[TrialKey, int] = field(default_factory=dict)
    """How often a trial's node was lost under it, on whatever node."""
    lane: int = 0
    """Which of the engines it is that run on the node at the same time."""
    shared: Callable[[Group], bool] = lambda _: False
    """Whether engines of other lanes may run beside that of a group."""
    settled: set[TrialKey] = field(default_factory=set)
    """The trials that will not be tried again in this run."""
    _todo: deque[tuple[Wanted, int]] = field(default_factory=deque)
    """Trials of the group, and the number of the attempt in this run that is next."""
    _measured: deque[_Measured] = field(default_factory=deque)
    _spent_s: defaultdict[TrialKey, float] = field(default_factory=lambda: defaultdict(float))
    _hopeless: dict[str, TrialResult] = field(default_factory=dict)
    """By cell: how a trial of it ended that no other repeat would get past."""
    _engine: EngineRecord | None = None
    _now: str | None = None
    _devices: tuple[str, ...] = ()
    _others: tuple[NodePart, ...] = ()
    """The parts of the other nodes of the deployment that runs."""
    _begun: tuple[Wanted, float] | None = None
    """The trial that is being tried, and since when."""
    _opened: float = field(default_factory=time.monotonic)

    def run(self, group: Group, devices: tuple[str, ...]) -> None:
        """Run the group's trials; the engine is down again when this returns or raises.

        Whatever it raises, ``settled`` are then those that need no other node.
        """
        self._todo = deque((trial, 1) for trial in group.trials)
        self._measured.clear()
        self._devices, self._others = (), ()
        try:
            self._run(group, devices)
        except NodeLost as error:
            self._engine = None
            self._hear_verdicts()
            self._lose(error, devices)
            raise
        except BaseException:
            try:
                self._hear_verdicts()
            finally:
                self._down()
            raise
        self._down()

    @contextmanager
    def with_others(self, agent: AgentLike, commit: Callable[[TrialManifest], Verdict]) -> Iterator[None]:
        """Run on several nodes meanwhile: ``agent`` speaks for all, ``commit`` brings home what all have."""
        own = self.agent, self.commit
        self.agent, self.commit = agent, commit
        try:
            yield
        finally:
            self.agent, self.commit = own

    @contextmanager
    def helping(self, group: Group, head: str) -> Iterator[None]:
        """Say meanwhile that the lane has a part of what another node leads."""
        self._now = f"{label(group.trials[0].cell)}, led by {head}"
        try:
            yield
        finally:
            self._now = None

    @property
    def name(self) -> str:
        """What people call the lane."""
        return self.node.node if not self.lane else f"{self.node.node} #{self.lane + 1}"

    def doing(self, what: str, tokens_per_s: float | None, watts: float | None) -> None:
        """Pass on what the agent says that it does."""
        self.progress.line(NodeLine(self.name, what, self._now, tokens_per_s, watts))

    def _run(self, group: Group, devices: tuple[str, ...]) -> None:
        while (self._todo or self._measured) and not self.stopping.is_set():
            self._hear_verdicts(lambda: not self._todo)
            if self._todo:
                trial, attempt = self._todo.popleft()
                hopeless = self._trial(group, trial, attempt, devices)
                if hopeless is not None:
                    self._give_up((trial, *(t for t, _ in self._todo)), hopeless)
                    self._todo.clear()
        self._hear_verdicts()

    def _trial(self, group: Group, trial: Wanted, attempt: int, devices: tuple[str, ...]) -> StartResult | None:
        """Try one trial until it is measured or not worth more; return a start that no trial of the group gets past."""
        self._now = label(trial.cell)
        hopeless = self._hopeless.get(trial.cell.cell_id)
        if hopeless is not None:
            self._commit(trial, self._as(trial, hopeless), None)
            self._settled_as(trial, "failed")
            return None
        for made in range(attempt, ATTEMPTS + 1):
            begun = time.monotonic()
            self._begun = trial, begun
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
            verdict, wall_s = self._commit(trial, result, engine), time.monotonic() - begun
            if result.outcome == "done":
                self._begun = None
                self._measured.append(_Measured(trial, made, result, verdict, wall_s))
                return None
            self._count(trial, result, (), wall_s)
            self._down()
            if result.failure_class in OF_THE_CELL:
                self._hopeless[trial.cell.cell_id] = result
            if self.stopping.is_set() or not again(result.failure_class, (), made):
                break
        self._settle(trial)
        return None

    def _hear_verdicts(self, wait: Callable[[], bool] = lambda: True) -> None:
        """Count the trials on which the verdict has come, and have those tried again that are worth it."""
        while self._measured and (wait() or self._measured[0].verdict.done()):
            m = self._measured.popleft()
            reasons = m.verdict.result()
            self._count(m.trial, m.result, reasons, m.wall_s)
            if reasons and not self.stopping.is_set() and again(None, reasons, m.made):
                self._todo.append((m.trial, m.made + 1))
            else:
                self._settle(m.trial)

    def _attempt(self, trial: Wanted) -> TrialResult:
        facts = self.sweep.models.get(trial.cell.deployment.model.name)
        devices = all_devices(self._devices, self._others)
        attempt = self._next_free(trial, devices)
        name = name_of(trial, self.node.node, devices, attempt)
        seed = (trial.start << 20) + (trial.repeat << 10) + attempt
        vocabulary = facts.vocab if facts is not None else UNKNOWN_VOCABULARY
        tables = self.sweep.tables.only(files_of(trial.cell.workload))
        return self.agent.run_trial(TrialOrder(name, trial.cell, vocabulary, seed, tables, self.lane))

    def _not_started(self, trial: Wanted, start: StartResult) -> TrialResult:
        result = not_started(trial, self.node, start)
        self._next_free(trial, all_devices(result.part.devices, result.others))
        return result

    def _next_free(self, trial: Wanted, devices: tuple[str, ...]) -> int:
        """Return the number of the attempt, from now on the one in ``attempts``: no file of another is replaced."""
        key = trial.key, self.node.node
        attempt = self.attempts.get(key, 0)
        while self.taken(name_of(trial, self.node.node, devices, attempt)):
            attempt += 1
        self.attempts[key] = attempt
        return attempt

    def _up(self, group: Group, devices: tuple[str, ...]) -> StartResult | None:
        """Have the engine running; return how its start failed, None where it runs."""
        if self._engine is not None:
            return None
        window_s = group.trials[0].cell.window.window_s
        idle_s = min(max(IDLE_SHARE * window_s, IDLE_S[0]), IDLE_S[1])
        weight_bytes, shared = self._weight_bytes(group.deployment), self.shared(group)
        order = StartOrder(
            group.deployment, group.slots, group.context_tokens, devices, idle_s, weight_bytes, self.lane, shared
        )
        started = self.agent.start_engine(order)
        if started.failure_class is not None:
            return started
        self._engine, self._devices, self._others = started.engine, started.devices, started.others
        return None

    def _weight_bytes(self, deployment: Deployment) -> float | None:
        facts = self.sweep.models.get(deployment.model.name)
        return facts.total_params * QUANTIZATIONS[deployment.quantization].bits / 8 if facts is not None else None

    def _down(self) -> None:
        self._engine = None
        self.agent.stop_engine(self.lane)

    def _commit(self, trial: Wanted, result: TrialResult, engine: EngineRecord | None) -> Verdict:
        key = trial.key, self.node.node
        attempt = self.attempts.get(key, 0)
        self.attempts[key] = attempt + 1
        return self.commit(manifest(trial, attempt, self.sweep, self.node, result, engine, self._mismatches(trial)))

    def _mismatches(self, trial: Wanted) -> tuple[str, ...]:
        if self._engine is None:
            return ()
        engine = engine_named(self._engine.name)
        return tuple(engine.mismatches(trial.cell.deployment, self._engine.reported))

    def _count(self, trial: Wanted, result: TrialResult, reasons: tuple[str, ...], wall_s: float) -> None:
        what = "failed" if result.outcome == "failed" else "invalid" if reasons else "valid"
        self.progress.attempted(what)
        self._spent_s[trial.key] += wall_s
        why = result.error if what == "failed" else ", ".join(f"{r} ({REASONS.get(r, r)})" for r in reasons)
        self.tell(f"{what}: {label(trial.cell)}, repeat {trial.repeat + 1}" + (f": {why}" if why else ""))
        self._tell_log(result.engine_log)

    def _as(self, trial: Wanted, hopeless: TrialResult) -> TrialResult:
        """Return the result of a repeat that is not tried: that of the one that was, without its traces."""
        self._next_free(trial, all_devices(hopeless.part.devices, hopeless.others))
        part, *others = (replace(p, window=None) for p in (hopeless.part, *hopeless.others))
        error = f"not tried again: {hopeless.error}"
        return replace(hopeless, part=part, others=tuple(others), traces=(), client=None, error=error)

    def _lose(self, error: NodeLost, devices: tuple[str, ...]) -> None:
        """Commit that the trial that was being tried lost its node; after some times that is the end of it."""
        if self._begun is None:
            return
        trial, begun = self._begun
        on = self._devices or devices or ("cpu",)
        times = self.losses[trial.key] = self.losses.get(trial.key, 0) + 1
        self._next_free(trial, all_devices(on, self._others))
        begun_us, now_us = (self.node.now_us + round((at - self._opened) * 1e6) for at in (begun, time.monotonic()))
        self._commit(trial, lost(trial, self.node, on, self._others, begun_us, now_us, str(error)), None)
        self.progress.attempted("failed")
        if times >= ATTEMPTS:
            self.tell(f"failed: {label(trial.cell)}, repeat {trial.repeat + 1}: its nodes were lost {times} times")
            self._settle(trial)

    def _settle(self, trial: Wanted) -> None:
        self._begun = None
        self.settled.add(trial.key)
        self.progress.settled(self.name, trial, self._spent_s.pop(trial.key, None))

    def _settled_as(self, trial: Wanted, what: str) -> None:
        self.progress.attempted(what)
        self._settle(trial)

    def _give_up(self, trials: tuple[Wanted, ...], start: StartResult) -> None:
        """Commit the failure for every trial: the engine that they share does not start."""
        for trial in trials:
            self._commit(trial, self._not_started(trial, start), start.engine)
            self._settled_as(trial, "failed")
        d = trials[0].cell.deployment
        self.tell(f"failed: {d.model.name} {d.quantization} on {d.engine.name} ({len(trials)} trials): {start.error}")
        self._tell_log(start.engine_log)

    def _tell_log(self, log: tuple[str, ...]) -> None:
        """Show what the engine wrote last, below the line that says how it failed."""
        for line in log:
            self.tell(f"    | {line}")
