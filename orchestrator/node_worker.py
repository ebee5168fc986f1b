"""The worker of one node: opens its agent, runs groups on it, and tries again where node or agent are lost."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from joulemark import __version__
from joulemark.agents.orders import AgentProgress, NodeFacts
from joulemark.orchestrator.apart_agent import ApartAgent
from joulemark.orchestrator.clocks import ClockRecord
from joulemark.orchestrator.gang import Gang, Member
from joulemark.orchestrator.home import Home, Patience
from joulemark.orchestrator.inventory import Node, reserved, suits
from joulemark.orchestrator.node_runner import NodeRunner
from joulemark.orchestrator.plan import Group
from joulemark.orchestrator.progress import NodeLine
from joulemark.orchestrator.ray_agents import RayAgent, holder_of
from joulemark.orchestrator.side_by_side import side_by_side
from joulemark.orchestrator.span_agent import SpanAgent
from joulemark.orchestrator.verdicts import Verdict
from joulemark.warehouse.errors import ClusterError, JoulemarkError, NodeLost
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.workloads.cell import APART

if TYPE_CHECKING:
    from joulemark.orchestrator.driver import Driver

POLL_S = 0.5
SOON_S = 5.0
"""An agent that has not answered after this long waits for another one to leave its node."""
CLOCKS_EVERY_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


@dataclass(frozen=True)
class Here:
    """What a worker has on its node."""

    node: Node
    agent: RayAgent
    facts: NodeFacts
    home: Home
    clock: ClockRecord


class NodeWorker:
    """Works for ``driver`` on the node of this name for as long as there is work for it."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver, self.name = driver, name
        self.agent: RayAgent | None = None
        self._trouble_since: float | None = None
        self._wait_s = FIRST_WAIT_S
        self._node: Node | None = None
        self._committing = threading.Lock()

    def run(self) -> None:
        """Work until there is nothing left to do; what went wrong for good is in the driver's ``errors``."""
        try:
            while (node := self._ready()) is not None:
                try:
                    self._serve(node)
                    return
                except NodeLost as error:
                    self._lost(error)
        except JoulemarkError as error:
            self.driver.errors.append(error)
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 -- a fault of ours; the driver raises it once the other nodes are done
            self.driver.faults.append(error)
            self._tell(f"its part of the sweep ends by a fault of joulemark's own, shown at the end: {error!r}")

    def _ready(self) -> Node | None:
        """Return the node once it is there; None where it is not needed any more. Raises ClusterError."""
        while not self.driver.stopping.wait(self._wait_s if self._trouble_since is not None else 0):
            node = self.driver.roster.get(self.name)
            known = node or self._node
            if known is None or not self._is_needed(known):
                return None
            if node is not None:
                self._node = node
                self._wait_for_carrier(node)
                return node
            since = self._trouble_since = self._trouble_since or time.monotonic()
            if time.monotonic() - since > self.driver.patience_s:
                minutes = self.driver.patience_s / 60
                raise ClusterError(
                    f"{self.name} did not come back in {minutes:.0f} min; "
                    "the same command goes on with it once it is there again"
                )
            self._lost_line("gone; waiting for it to come back")
        return None

    def _is_needed(self, node: Node) -> bool:
        if self.name in self.driver.clients:
            return not self.driver.measured.is_set()
        return self.driver.work.waits_for(node)

    def _wait_for_carrier(self, node: Node) -> None:
        """Hold no node while another sweep holds those that carry. Raises ClusterError."""
        driver = self.driver
        if driver.clients and self.name not in driver.clients:
            driver.carriers.wait_for_any(lambda: self._is_over(node), driver.patience_s)

    def _is_over(self, node: Node) -> bool:
        return self.driver.stopping.is_set() or not self._is_needed(node)

    def _lost(self, error: NodeLost) -> None:
        self._trouble_since = self._trouble_since or time.monotonic()
        if time.monotonic() - self._trouble_since > self.driver.patience_s:
            raise ClusterError(f"{error}; given up after {self.driver.patience_s / 60:.0f} min") from error
        self._tell(f"{error}; what it had not finished is done by another node, or here once it is back")
        self._lost_line("lost; trying again")
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _serve(self, node: Node) -> None:
        agent = self._agent_of(node)
        if agent is None:
            return
        try:
            facts = self._open(agent)
            if facts is not None:
                self._work(agent, node, facts)
        except NodeLost:
            raise
        except Exception:
            with suppress(JoulemarkError):
                agent.finish()
            raise
        finally:
            self.agent = None
            agent.leave()

    def _agent_of(self, node: Node) -> RayAgent | None:
        """Return a new agent of the node, once no other driver has one there; None where the run is to stop."""
        told = None
        while not self._is_over(node):
            try:
                return self.driver.agent(node, self.driver.config(node), self.driver.holder, self.driver.clock)
            except ValueError:
                # Its name is taken.
                holder = holder_of(self.name)
                if holder is not None and holder not in (told, self.driver.holder):
                    told = holder
                    self._tell(f"waiting for {holder} to leave this node")
                self.driver.stopping.wait(POLL_S)
        return None

    def _open(self, agent: RayAgent) -> NodeFacts | None:
        """Return the node's facts; None where the sweep was over before it had any."""
        waited_s = 0.0
        while (facts := agent.opened(POLL_S)) is None:
            waited_s += POLL_S
            if waited_s == SOON_S:
                meters = any(m.is_for(self.name) for m in self.driver.config(agent.node).meters)
                what = "its agent, its meters" if meters else "its agent"
                self._tell(f"waiting for {what}, or for another joulemark on this node to end")
            if self._is_over(agent.node):
                return None
        theirs = facts.versions.get("joulemark")
        if theirs != __version__:
            raise ClusterError(f"it has joulemark {theirs}, and this is {__version__}: install the same everywhere")
        for warning in facts.warnings:
            self._tell(warning)
        if facts.ended_leftovers:
            self._tell(f"ended {facts.ended_leftovers} processes that an earlier run had left")
        return facts

    def _work(self, agent: RayAgent, node: Node, facts: NodeFacts) -> None:
        driver = self.driver
        clock = ClockRecord(node.node, facts.boot, driver.reference, self._tell)
        agent.exchanged = clock.add
        home = Home(agent, driver.warehouse, Patience(self._tell, driver.stopping, driver.patience_s))
        here = Here(node, agent, facts, home, clock)
        left = home.begin()
        if left:
            self._tell(f"brought home {left} files that an earlier run had left here")
        if facts.waited or left or self._trouble_since is not None:
            # A driver that hung has lost its agents, and another one may have done its work meanwhile.
            home.patience.with_(driver.drop_valid)
        if self.name in driver.clients:
            self._carry(here)
        else:
            self._measure(here)
        agent.finish()
        home.bring()
        home.patience.with_(lambda: clock.write(driver.warehouse))
        home.committed()

    def _carry(self, here: Here) -> None:
        """Carry the loads of other nodes' trials until all is measured."""
        carriers, line = self.driver.carriers, self.driver.progress.line
        here.agent.heard = lambda p: line(NodeLine(self.name, p.doing, None, p.tokens_per_s, p.watts))
        self.agent = here.agent
        carriers.offer(self._member(here, 0, ()))
        try:
            while not self.driver.measured.wait(POLL_S):
                error = here.agent.lost or carriers.refused(self.name)
                if error is not None:
                    raise error
        finally:
            carriers.withdraw(self.name)

    def _measure(self, here: Here) -> None:
        """Run groups in all lanes of the node until none is left."""
        driver, agent, node, home = self.driver, here.agent, here.node, here.home
        runners = [
            NodeRunner(
                agent,
                here.facts,
                driver.sweep,
                lambda manifest: self._commit(manifest, here),
                driver.attempts,
                driver.progress,
                self._tell_all,
                driver.stopping,
                lambda trial: home.patience.with_(lambda: driver.taken(trial)),
                driver.losses,
                lane,
                lambda group: driver.lanes.shared(node, group),
            )
            for lane in range(driver.lanes.on(node))
        ]
        agent.heard = lambda p: _show(runners, p)
        self.agent = agent
        side_by_side([partial(self._run_lane, here, runner) for runner in runners])

    def _run_lane(self, here: Here, runner: NodeRunner, failed: threading.Event) -> None:
        work, stopping = self.driver.work, self.driver.stopping
        while not failed.is_set() and (taken := work.take(here.node, stopping)) is not None:
            if not isinstance(taken, Gang):
                self._run_group(here, runner, taken)
            elif taken.head == here.node.node:
                try:
                    self._run_group(here, runner, taken.group, taken)
                finally:
                    taken.end()
            else:
                self._help(here, runner, taken)

    def _run_group(self, here: Here, runner: NodeRunner, group: Group, gang: Gang | None = None) -> None:
        devices = None
        self.driver.progress.begins(runner.name, group)
        try:
            devices = self.driver.devices(here.node, reserved(group.deployment, here.node))
            if gang is not None:
                self._lead(here, runner, gang, devices.ids)
            elif group.trials[0].cell.window.client == APART:
                self._run_apart(here, runner, group, devices.ids)
            else:
                runner.run(group, devices.ids)
        except BaseException:
            self.driver.progress.ends(runner.name, group.without(runner.settled))
            self.driver.work.give_back(here.node, group, runner.settled)
            raise
        else:
            self.driver.progress.ends(runner.name, None)
            self.driver.work.done(here.node, group)
        finally:
            if devices is not None:
                devices.release()

    def _lead(self, here: Here, runner: NodeRunner, gang: Gang, devices: tuple[str, ...]) -> None:
        """Run a group over several nodes once they have gathered, as the one that serves."""
        deployment = gang.group.deployment
        runner.doing(f"waiting for {deployment.parallel.nodes - 1} more nodes", None, None)
        others = gang.gathered(
            self.driver.stopping, lambda: sum(suits(deployment, n) for n in self.driver.roster.values())
        )
        if others is not None:
            agent = SpanAgent(self._member(here, runner.lane, devices), others)
            with runner.with_others(agent, lambda manifest: self._commit(manifest, here, others)):
                runner.run(gang.group, devices)

    def _run_apart(self, here: Here, runner: NodeRunner, group: Group, devices: tuple[str, ...]) -> None:
        """Run a group with its load from another node."""
        driver, left = self.driver, group.without(runner.settled)
        while left is not None and not driver.stopping.is_set():
            runner.doing("waiting for a node that carries its load", None, None)
            with driver.carriers.one(driver.stopping, driver.patience_s) as client:
                if client is None:
                    return
                self._run_with(client, here, runner, left, devices)
            left = group.without(runner.settled)

    def _run_with(self, client: Member, here: Here, runner: NodeRunner, group: Group, devices: tuple[str, ...]) -> None:
        """Run what it can of a group with the load from that client: all of it, unless the client is lost."""
        refused = partial(self.driver.carriers.refuse, client.facts.node)
        agent = ApartAgent(self._member(here, runner.lane, devices), client, refused)
        try:
            with runner.with_others(agent, lambda manifest: self._commit(manifest, here, (client,))):
                runner.run(group, devices)
        except NodeLost as error:
            if here.agent.lost is not None:
                raise
            self._tell(f"{error}; it goes on with another client, or with that one once it is back")
            here.agent.stop_engine(runner.lane)

    def _help(self, here: Here, runner: NodeRunner, gang: Gang) -> None:
        """Give the node to a group that another one leads, until that is over."""
        devices = None
        try:
            devices = self.driver.devices(here.node, reserved(gang.group.deployment, here.node))
            with runner.helping(gang.group, gang.head):
                gang.ready(self._member(here, runner.lane, devices.ids))
                gang.wait_over(lambda: here.agent.lost)
            # A leader that was lost has not ended what runs here.
            here.agent.stop_engine(runner.lane)
        finally:
            gang.leave(here.node.node)
            self.driver.work.done(here.node, gang.group)
            if devices is not None:
                devices.release()

    def _member(self, here: Here, lane: int, devices: tuple[str, ...]) -> Member:
        def bring() -> None:
            with self._committing:
                self._bring(here)

        def committed() -> None:
            with self._committing:
                here.home.committed()
            self._trouble_since, self._wait_s = None, FIRST_WAIT_S

        return Member(
            here.facts, here.node.address, here.agent, lane, devices, lambda: here.clock.best, bring, committed
        )

    def _commit(self, manifest: TrialManifest, here: Here, others: tuple[Member, ...] = ()) -> Verdict:
        """Bring the trial's traces home, then commit it; return the verdict to come."""
        lost = manifest.failure_class == "node_lost"
        for member in () if lost else others:
            member.bring()
        with self._committing:
            verdict = self._brought(manifest, here, lost=lost)
        for member in () if lost else others:
            member.committed()
        return verdict

    def _brought(self, manifest: TrialManifest, here: Here, *, lost: bool) -> Verdict:
        self._bring(here, lost=lost)
        verdict = here.home.patience.with_(lambda: self.driver.commit(manifest))
        if not lost:
            here.home.committed()
            self._trouble_since, self._wait_s = None, FIRST_WAIT_S
        return verdict

    def _bring(self, here: Here, *, lost: bool = False) -> None:
        if not lost:
            here.home.bring()
        here.home.patience.with_(lambda: here.clock.write(self.driver.warehouse, CLOCKS_EVERY_S))

    def interrupt(self) -> None:
        """End what the node runs now."""
        agent = self.agent
        if agent is not None:
            with suppress(JoulemarkError):
                agent.interrupt()

    def _tell(self, text: str) -> None:
        self.driver.tell(text if text.startswith(f"{self.name}:") else f"{self.name}: {text}")

    def _tell_all(self, text: str) -> None:
        self.driver.tell(text)

    def _lost_line(self, doing: str) -> None:
        self.driver.progress.line(NodeLine(self.name, doing, lost=True))


def _show(runners: list[NodeRunner], said: AgentProgress) -> None:
    """Pass on what the lanes do; before they run, it is the agent that does something."""
    lanes = dict(enumerate(said.lanes))
    for runner in runners:
        lane = lanes.get(runner.lane, said if not runner.lane else None)
        if lane is not None:
            runner.doing(lane.doing, lane.tokens_per_s, said.watts if not runner.lane else None)


def start(worker: NodeWorker) -> threading.Thread:
    """Run a worker in a thread of its own."""
    thread = threading.Thread(target=worker.run, name=worker.name, daemon=True)
    thread.start()
    return thread
