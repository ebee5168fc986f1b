"""Run the work that is left of a sweep on a Ray session that is up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from joulemark.agents.orders import AgentConfig
from joulemark.orchestrator import sweep_record
from joulemark.orchestrator.driver import Driver
from joulemark.orchestrator.estimate import trial_s
from joulemark.orchestrator.have import have, verdict
from joulemark.orchestrator.inventory import Node, suits
from joulemark.orchestrator.progress import Progress, Snapshot
from joulemark.orchestrator.sweep_work import SweepWork
from joulemark.orchestrator.terminal import Terminal
from joulemark.warehouse.errors import JoulemarkError
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import manifest_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    end: Snapshot
    errors: tuple[JoulemarkError, ...]
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether every trial that the sweep asks for is there and valid."""
        return self.end.had + self.end.valid >= self.end.wanted


def run_sweep(work: SweepWork, warehouse: Warehouse) -> RunResult:
    """Run all groups and return how it ended; what was measured is in the warehouse."""
    sweep_record.store(warehouse, work)
    trials = [t for g in work.groups for t in g.trials]
    expected_s = sum(trial_s(t, work.known) for t in trials) / max(1, len(trials))
    progress = Progress(work.sweep.name, work.wanted, len(work.have.valid), expected_s)
    watts = work.site.cpu_watts
    cells = {c.cell_id for c in work.expansion.cells}

    def config(node: Node) -> AgentConfig:
        return AgentConfig(
            node=node.node,
            warehouse=warehouse.url if "://" in warehouse.url else warehouse.root,
            cpu_watts=(watts.idle, watts.full) if watts else None,
            environments=dict(work.expansion.environments),
            endpoints=dict(work.expansion.endpoints),
            meters=tuple(m for m in work.site.meters if m.is_for(node.node)),
            window_s=min((t.cell.window.window_s for t in trials), default=None),
        )

    def keep(manifest: TrialManifest) -> tuple[str, ...]:
        commit(warehouse, manifest)
        return verdict(warehouse, manifest.trial) if manifest.outcome == "done" else ()

    with Terminal(progress.snapshot) as terminal:
        driver = Driver(
            warehouse=warehouse,
            sweep=work.facts,
            nodes=list(work.nodes),
            config=config,
            suits=lambda group, node: suits(group.deployment, node),
            commit=keep,
            attempts=dict(work.have.attempts),
            progress=progress,
            tell=terminal.tell,
            taken=lambda trial: warehouse.exists(manifest_file(trial)),
            valid_now=lambda: have(warehouse, cells).valid,
        )
        with _interruptible(driver, terminal.tell) as interrupted:
            driver.run(list(work.groups))
    return RunResult(progress.snapshot(), tuple(driver.errors), interrupted.is_set())


@contextmanager
def _interruptible(driver: Driver, tell: Callable[[str], None]) -> Iterator[threading.Event]:
    """Once: finish the running trial. Twice, SIGTERM or the end of the terminal: end it now.

    The event says whether it happened.
    """
    asked = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        now = asked.is_set() or number != signal.SIGINT
        asked.set()
        driver.stop(now=now)
        tell("stopping now" if now else "finishing the running trials; press Ctrl-C again to stop now")

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Ignored means that nohup was asked to outlive the terminal.
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
