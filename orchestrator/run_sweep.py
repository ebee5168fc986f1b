"""Run the work that is left of a sweep on a Ray session that is up."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType

from joulemark.agents.clock import NodeClock
from joulemark.agents.orders import AgentConfig
from joulemark.orchestrator import sweep_record
from joulemark.orchestrator.driver import PATIENCE_S, Driver
from joulemark.orchestrator.driver_log import committed, driver_log
from joulemark.orchestrator.estimate import start_s, trial_s
from joulemark.orchestrator.forecast import Outlook, lanes_by_accelerator
from joulemark.orchestrator.have import have
from joulemark.orchestrator.inventory import Node, simulated_gpus
from joulemark.orchestrator.metrics import of_sweep, of_trial
from joulemark.orchestrator.progress import Progress, Snapshot
from joulemark.orchestrator.ray_metrics import Exporter
from joulemark.orchestrator.sweep_work import SweepWork
from joulemark.orchestrator.terminal import Terminal
from joulemark.orchestrator.verdicts import Verdict, judging
from joulemark.warehouse.errors import ClusterError, JoulemarkError, MissingTool
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import manifest_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.store.whose import ensure_id


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


def run_sweep(
    work: SweepWork,
    warehouse: Warehouse,
    living: Callable[[], list[Node]],
    *,
    lease: Callable[[Callable[[], Snapshot], Callable[[str], None]], AbstractContextManager[None]] | None = None,
    patience_s: float = PATIENCE_S,
) -> RunResult:
    """Run all groups and return how it ended; what was measured is in the warehouse.

    ``living`` gives the nodes that are there, again and again. ``lease`` is held meanwhile: it is given what shows how
    far the run is, and what ends it should another driver have taken over.
    """
    sweep_record.store(warehouse, work)
    warehouse_id = ensure_id(warehouse)
    trials = [t for g in work.groups for t in g.trials]
    outlook = Outlook.of(
        work.groups,
        lambda t: trial_s(t, work.known),
        lambda g: start_s(g, work.known),
        lanes_by_accelerator(work.groups, work.nodes, work.lanes.on),
    )
    progress = Progress(work.sweep.name, work.wanted, work.had, outlook=outlook)
    watts = work.site.cpu_watts
    cells = {c.cell_id for c in work.expansion.cells}

    def config(node: Node) -> AgentConfig:
        return AgentConfig(
            node=node.node,
            warehouse=warehouse.url if "://" in warehouse.url else warehouse.root,
            warehouse_id=warehouse_id,
            sweep=work.sweep.name,
            cpu_watts=(watts.idle, watts.full) if watts else None,
            environments=dict(work.expansion.environments),
            endpoints=dict(work.expansion.endpoints),
            meters=tuple(m for m in work.site.meters if m.is_for(node.node)),
            window_s=min((t.cell.window.window_s for t in trials), default=None),
            cpu_engines=any(g.deployment.on_cpu for g in work.groups),
            simulated_gpus=simulated_gpus((g.deployment for g in work.groups), node),
        )

    clock, exporter = _clock(), Exporter()
    with (
        Terminal(progress.snapshot) as terminal,
        driver_log(warehouse, work.sweep.name, terminal.tell) as events,
        judging(warehouse) as verdicts,
    ):

        def keep(manifest: TrialManifest) -> Verdict:
            commit(warehouse, manifest)
            events.say("committed", logging.WARNING if manifest.failure_class else logging.INFO, **committed(manifest))
            exporter.export(of_trial(manifest))
            return verdicts.ask(manifest)

        def tell(text: str) -> None:
            events.say("told", text=text)
            terminal.tell(text)

        driver = Driver(
            warehouse=warehouse,
            sweep=work.facts,
            living=living,
            config=config,
            commit=keep,
            attempts=dict(work.have.attempts),
            progress=progress,
            tell=tell,
            taken=lambda trial: warehouse.exists(manifest_file(trial)),
            valid_now=lambda: have(warehouse, cells).valid,
            schedule=work.schedule,
            lanes=work.lanes,
            clock=clock,
            holder=who(work.sweep.name),
            reference=socket.gethostname(),
            clients=work.clients,
            patience_s=patience_s,
            show=lambda now: exporter.export(of_sweep(now)),
        )

        def end(why: str) -> None:
            driver.errors.append(ClusterError(why))
            driver.stop(now=True)

        held = lease(progress.snapshot, end) if lease is not None else nullcontext()
        with _interruptible(driver, tell) as interrupted, held:
            driver.run()
    return RunResult(progress.snapshot(), tuple(driver.errors), interrupted.is_set())


def _clock() -> NodeClock:
    try:
        return NodeClock.of_this_node()
    except PermissionError as error:
        raise MissingTool(f"{error.filename} may not be written; set JOULEMARK_HOME to a folder of your own") from error


def who(sweep: str) -> str:
    """Return who this driver is, for people."""
    return f"sweep {sweep} (process {os.getpid()} on {socket.gethostname()})"


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
