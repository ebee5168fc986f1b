"""The driver of a sweep: one worker thread per node, agents kept alive by a lease, progress written all the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from joulemark.agents.orders import AgentConfig, AgentProgress, NodeFacts
from joulemark.orchestrator.have import TrialKey
from joulemark.orchestrator.inventory import Node, simulated_here
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.node_runner import NodeRunner
from joulemark.orchestrator.plan import Group
from joulemark.orchestrator.progress import Progress, save
from joulemark.orchestrator.ray_agents import Devices, RayAgent
from joulemark.warehouse.errors import ClusterError, JoulemarkError, WarehouseError
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.location import Warehouse

POLL_S = 0.5
SOON_S = 5.0
"""An agent that has not answered after this long waits for another one to leave its node."""
SAVE_EVERY = 4
"""Polls between two writes of the progress record."""


@dataclass
class Driver:
    """Runs groups on nodes until all are done or ``stop`` was called."""

    warehouse: Warehouse
    sweep: SweepFacts
    nodes: list[Node]
    config: Callable[[Node], AgentConfig]
    suits: Callable[[Group, Node], bool]
    commit: Callable[[TrialManifest], tuple[str, ...]]
    attempts: dict[tuple[str, int, int], int]
    progress: Progress
    tell: Callable[[str], None]
    taken: Callable[[str], bool]
    valid_now: Callable[[], Collection[TrialKey]]
    """The trials that are valid by now, those of other runs included."""
    stopping: threading.Event = field(default_factory=threading.Event)
    errors: list[JoulemarkError] = field(default_factory=list)
    _agents: dict[str, RayAgent] = field(default_factory=dict)
    _left: list[Group] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unsaved: str | None = None

    def run(self, groups: list[Group]) -> None:
        """Run all groups. What went wrong with a node is in ``errors``; trials are in the warehouse either way."""
        self._left = list(groups)
        over = threading.Event()
        saver = threading.Thread(target=self._save_progress, args=(over,), name="progress")
        saver.start()
        workers = [threading.Thread(target=self._work, args=(n,), name=n.node) for n in self.nodes]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    # A join without a timeout would keep Ctrl-C waiting.
                    worker.join(POLL_S)
        finally:
            self.progress.state = "ended"
            over.set()
            saver.join()

    def stop(self, *, now: bool) -> None:
        """Finish the running trials and start no more; with ``now`` end the running trials too."""
        self.stopping.set()
        self.progress.state = "stopping"
        if now:
            for agent in list(self._agents.values()):
                agent.interrupt()

    def _work(self, node: Node) -> None:
        group = self._take(node)
        if group is None:
            return
        agent = None
        try:
            agent = RayAgent(node, self.config(node))
            facts = self._hello(agent, node)
            if facts is None:
                return
            if facts.waited:
                group = self._without_valid(group, node)
            self._agents[node.node] = agent
            runner = NodeRunner(
                agent,
                facts,
                self.sweep,
                self.commit,
                self.attempts,
                self.progress,
                self.tell,
                self.stopping,
                self.taken,
            )
            with _Watching(agent, runner):
                while group is not None and not self.stopping.is_set():
                    self._run_group(runner, node, group)
                    group = self._take(node)
        except JoulemarkError as error:
            self.errors.append(error)
            self.tell(f"{node.node}: {error}")
        finally:
            self._agents.pop(node.node, None)
            if agent is not None:
                agent.close()

    def _hello(self, agent: RayAgent, node: Node) -> NodeFacts | None:
        """Return the node's facts; None where the sweep was stopped before it had any."""
        answer = agent.describe_soon()
        waited_s = 0.0
        while (facts := answer(POLL_S)) is None:
            waited_s += POLL_S
            if waited_s == SOON_S:
                what = (
                    "its agent, its meters"
                    if any(m.is_for(node.node) for m in self.config(node).meters)
                    else "its agent"
                )
                self.tell(f"{node.node}: waiting for {what}, or for another joulemark on this node to end")
            if self.stopping.is_set():
                agent.abandon()
                return None
        for warning in facts.warnings:
            self.tell(f"{node.node}: {warning}")
        if facts.ended_leftovers:
            self.tell(f"{node.node}: ended {facts.ended_leftovers} processes that an earlier run had left")
        return facts

    def _without_valid(self, group: Group, node: Node) -> Group | None:
        """Return the next group after what the sweep that held the node has measured is taken out of all groups."""
        valid = self.valid_now()
        with self._lock:
            groups = [group, *self._left]
            left = [replace(g, trials=tuple(t for t in g.trials if t.key not in valid)) for g in groups]
            self._left = [g for g in left if g.trials]
            self.progress.found(sum(len(g.trials) for g in groups) - sum(len(g.trials) for g in left))
        return self._take(node)

    def _run_group(self, runner: NodeRunner, node: Node, group: Group) -> None:
        free = group.deployment.on_cpu or simulated_here(group.deployment, node)
        devices = Devices(node, 0 if free else group.deployment.parallel.devices)
        try:
            runner.run(group, devices.ids)
        finally:
            devices.release()

    def _take(self, node: Node) -> Group | None:
        with self._lock:
            for group in self._left:
                if self.suits(group, node):
                    self._left.remove(group)
                    return group
        return None

    def _save_progress(self, over: threading.Event) -> None:
        polls = 0
        while not over.wait(POLL_S):
            polls += 1
            if polls % SAVE_EVERY == 1:
                self._save()
        self._save()

    def _save(self) -> None:
        try:
            save(self.warehouse, self.progress.snapshot())
        except WarehouseError as error:
            # `status` will be behind; the trials themselves are committed or fail on their own account.
            if self._unsaved != str(error):
                self._unsaved = str(error)
                self.tell(f"progress record: {error}")


class _Watching:
    """Renews the agent's lease and passes on its progress while the block lasts."""

    def __init__(self, agent: RayAgent, runner: NodeRunner) -> None:
        self._agent, self._runner = agent, runner
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            try:
                said: AgentProgress = self._agent.progress()
            except (ClusterError, TimeoutError) as error:
                # The worker thread meets the same loss, and ends the sweep on this node where it lasts.
                self._runner.doing(str(error), None, None)
            else:
                self._runner.doing(said.doing, said.tokens_per_s, said.watts)
