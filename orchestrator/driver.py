"""The driver of a sweep: one worker per node, nodes that come and go, progress written all the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from joulemark.agents.clock import NodeClock
from joulemark.agents.orders import AgentConfig
from joulemark.orchestrator.carriers import Carriers
from joulemark.orchestrator.copies import Places
from joulemark.orchestrator.have import AttemptKey
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.node_worker import NodeWorker, start
from joulemark.orchestrator.plan import TrialKey
from joulemark.orchestrator.progress import Progress, Snapshot, save
from joulemark.orchestrator.ray_agents import Devices, RayAgent
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.verdicts import Verdict
from joulemark.orchestrator.work import Work
from joulemark.warehouse.errors import ClusterError, JoulemarkError, WarehouseError
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.location import Warehouse

POLL_S = 0.5
ROSTER_S = 3.0
SAVE_EVERY = 4
"""Polls between two writes of the progress record."""
PATIENCE_S = 600.0


@dataclass
class Driver:
    """Runs groups on nodes until all are done or ``stop`` was called."""

    warehouse: Warehouse
    sweep: SweepFacts
    living: Callable[[], list[Node]]
    """The nodes that are there now."""
    config: Callable[[Node], AgentConfig]
    commit: Callable[[TrialManifest], Verdict]
    attempts: dict[AttemptKey, int]
    progress: Progress
    tell: Callable[[str], None]
    taken: Callable[[str], bool]
    valid_now: Callable[[], Places]
    """Where trials are valid by now, those of other runs included."""
    schedule: Schedule
    lanes: Lanes
    clock: NodeClock
    """The driver's, with which the nodes' are compared."""
    holder: str = "a sweep"
    """Who this is, for another driver that waits for a node."""
    show: Callable[[Snapshot], None] = lambda _: None
    """Given the progress whenever it is written."""
    reference: str = "the driver"
    """Name of the clock that the nodes' are compared with."""
    clients: frozenset[str] = frozenset()
    """Nodes that carry the loads of others, and measure nothing."""
    carriers: Carriers = field(init=False)
    measured: threading.Event = field(default_factory=threading.Event)
    """Whether no node measures any more."""
    patience_s: float = PATIENCE_S
    """How long a node may be gone, or the warehouse out of reach."""
    stopping: threading.Event = field(default_factory=threading.Event)
    errors: list[JoulemarkError] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """What went wrong on a node and is no user's error."""
    losses: dict[TrialKey, int] = field(default_factory=dict)
    """How often a trial's node was lost under it."""
    roster: dict[str, Node] = field(default_factory=dict)
    agent: Callable[[Node, AgentConfig, str, NodeClock], RayAgent] = RayAgent
    devices: Callable[[Node, int], Devices] = Devices
    """What stands for nodes and their GPUs; tests and benchmarks have others."""
    work: Work = field(init=False)
    _workers: dict[str, NodeWorker] = field(default_factory=dict)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _unsaved: str | None = None

    def __post_init__(self) -> None:
        """Share the schedule out among the nodes."""
        self.work = Work(self.schedule, self.lanes)
        self.carriers = Carriers(self._carriers_coming)

    def run(self) -> None:
        """Run all groups. What went wrong with a node is in ``errors``; trials are in the warehouse either way.

        A fault of our own on one node is raised when the others are done.
        """
        over = threading.Event()
        saver = threading.Thread(target=self._save_progress, args=(over,), name="progress")
        self._look_around()
        watcher = threading.Thread(target=self._keep_looking, args=(over,), name="roster", daemon=True)
        saver.start()
        watcher.start()
        threads = self._threads
        try:
            while alive := [t for t in self._hire(threads) if t.is_alive()]:
                # A join without a timeout would keep Ctrl-C waiting.
                alive[0].join(POLL_S)
            self.measured.set()
            for thread in threads.values():
                while thread.is_alive():
                    thread.join(POLL_S)
        finally:
            self.measured.set()
            self.progress.state = "ended"
            over.set()
            saver.join()
        if self.faults:
            raise self.faults[0]

    def stop(self, *, now: bool) -> None:
        """Finish the running trials and start no more; with ``now`` end the running trials too."""
        self.stopping.set()
        self.progress.state = "stopping"
        if now:
            for worker in list(self._workers.values()):
                worker.interrupt()

    def drop_valid(self) -> None:
        """Take out what is valid by now: by another driver that had the nodes, or by records that came home late."""
        self.progress.found(self.work.without(self.valid_now()))

    def _hire(self, threads: dict[str, threading.Thread]) -> list[threading.Thread]:
        """Start a worker for every node that has none yet, as long as there is work; return those that measure."""
        for name, node in list(self.roster.items()):
            needed = name in self.clients or self.work.waits_for(node)
            if name not in threads and not self.stopping.is_set() and needed:
                self._workers[name] = NodeWorker(self, name)
                threads[name] = start(self._workers[name])
        return [t for name, t in threads.items() if name not in self.clients]

    def _carriers_coming(self) -> bool | None:
        carrying = [self._threads[n] for n in self.clients if n in self._threads]
        return any(t.is_alive() for t in carrying) if carrying else None

    def _look_around(self) -> None:
        self.roster = {n.node: n for n in self.living()}

    def _keep_looking(self, over: threading.Event) -> None:
        while not over.wait(ROSTER_S):
            try:
                self._look_around()
            except ClusterError:
                # The head does not answer: the nodes that are known may work on.
                continue

    def _save_progress(self, over: threading.Event) -> None:
        polls = 0
        while not over.wait(POLL_S):
            polls += 1
            if polls % SAVE_EVERY == 1:
                self._save()
        self._save()

    def _save(self) -> None:
        snapshot = self.progress.snapshot()
        self.show(snapshot)
        try:
            save(self.warehouse, snapshot)
        except WarehouseError as error:
            # `status` will be behind; the trials themselves are committed or fail on their own account.
            if self._unsaved != str(error):
                self._unsaved = str(error)
                self.tell(f"progress record: {error}")
