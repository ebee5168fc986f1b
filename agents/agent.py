"""The node agent: the control point of one node. A plain class; the orchestrator makes a Ray actor of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from glob import escape

from joulemark.agents.carrier import Carrier
from joulemark.agents.clock import NodeClock
from joulemark.agents.engines.leftovers import end_leftovers
from joulemark.agents.engines.logs import keep_logs
from joulemark.agents.event_log import EventLog
from joulemark.agents.home import joulemark_home
from joulemark.agents.http import free_port_pair
from joulemark.agents.lane import Lane
from joulemark.agents.locks import exclusive
from joulemark.agents.node_facts import node_facts, node_row
from joulemark.agents.node_things import NodeThings
from joulemark.agents.orders import (
    AgentConfig,
    AgentProgress,
    Loaded,
    LoadOrder,
    NodeFacts,
    PartOrder,
    PartResult,
    RankEnd,
    StartOrder,
    StartResult,
    Target,
    TrialOrder,
    TrialResult,
)
from joulemark.agents.outbox import Outbox, Sealed, reaches
from joulemark.agents.power import PowerTrace
from joulemark.agents.power_limits import PowerLimits
from joulemark.agents.secrets import Secrets
from joulemark.warehouse.errors import MissingTool
from joulemark.warehouse.schema.nodes import NODES
from joulemark.warehouse.store.layout import LOGS, segment_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

LEASE_CHECK_S = 1.0
CLOSE_S = 90.0
"""How long what an agent runs may take to end once its driver is gone."""


class NodeAgent:
    """Samples power from its start to its end, runs engines and trials in its lanes.

    There is one per node: it waits for the lock of one that is just ending, and then ends what that one left.
    """

    def __init__(self, config: AgentConfig, on_lease_end: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self._on_lease_end = on_lease_end
        self.home = joulemark_home()
        self.folder = self.home / "nodes" / config.node
        self.outbox = Outbox(self.folder / "outbox", config.warehouse_id)
        self.warehouse = self.outbox.files
        self._lock = ExitStack()
        self._waiting, self._interrupted = threading.Event(), threading.Event()
        try:
            self.clock = NodeClock.of_this_node()
            self._lock.enter_context(exclusive(self.folder / "agent.lock", self._waiting.set))
        except PermissionError as error:
            raise MissingTool(
                f"{error.filename or self.home} may not be written; set JOULEMARK_HOME to a folder of your own"
            ) from error
        self.ended_leftovers = end_leftovers(self.folder / "starts")
        keep_logs(self.folder, self.warehouse, Secrets.here())
        self.events = EventLog(self.folder / LOGS, f"agent-{config.node}", sweep=config.sweep, node=config.node)
        self.limits = PowerLimits(self.folder / "limits", self.clock.boot)
        self._limit_warnings = self.limits.restore()
        self.power = PowerTrace.start(config, self.folder, self.warehouse)
        self._things = NodeThings(
            config, self.home, self.folder, self.warehouse, self.clock, self.power, self.limits, self._interrupted
        )
        self._lanes: dict[int, Lane] = {}
        self._carrier = Carrier(self._things)
        self._renewed = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()

    def describe(self) -> NodeFacts:
        """Return the node's facts, and record them."""
        sampler = self.power.sampler
        warnings = (*sampler.wait_for_meters(), *self._limit_warnings)
        facts = node_facts(self.config.node, self.clock, sampler.meters, warnings, len(self.ended_leftovers))
        table = NODES.arrow.empty_table().from_pylist([node_row(facts)], schema=NODES.arrow)
        write_table(self.warehouse, NODES, segment_file("nodes", self.config.node, facts.boot), table)
        self.events.say("agent_opened", boot=facts.boot, warnings=facts.warnings, ended_leftovers=facts.ended_leftovers)
        return replace(facts, waited=self._waiting.is_set())

    def renew(self) -> None:
        """Renew the driver's lease: without it the agent ends what it runs."""
        self._renewed = time.monotonic()

    def progress(self) -> AgentProgress:
        """Return what the agent is doing now."""
        lanes = tuple(self._lanes[n].doing for n in sorted(self._lanes))
        sampler, carrying = self.power.sampler, self._carrier.doing
        if carrying is not None:
            # Tokens and watts of one node would be taken for energy per token.
            return replace(carrying, sampler_restarts=sampler.restarts)
        first = lanes[0] if lanes else AgentProgress("idle")
        return replace(first, watts=sampler.watts, lanes=lanes, sampler_restarts=sampler.restarts)

    def prepare_engine(self, order: StartOrder) -> StartResult:
        """See Lane.prepare."""
        return self._lane(order.lane).prepare(order)

    def free_ports(self) -> int:
        """Return a port that is free, as is the one after it."""
        return free_port_pair()

    def start_engine(self, order: StartOrder) -> StartResult:
        """See Lane.start."""
        started = self._lane(order.lane).start(order)
        self.events.say(
            "engine_failed" if started.failure_class else "engine_started",
            logging.WARNING if started.failure_class else logging.INFO,
            engine=order.deployment.engine.named,
            model=order.deployment.model.name,
            failure_class=started.failure_class,
            error=started.error,
        )
        return started

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """See Lane.run."""
        self._began(order)
        return self._ended(order, self._lane(order.lane).run(order))

    def begin_trial(self, order: TrialOrder) -> Target:
        """See Lane.begin_trial."""
        self._began(order)
        lane = self._lane(order.lane)
        target = lane.begin_trial(order)
        lane.doing = AgentProgress("measuring, with the load from another node")
        return target

    def carry(self, order: LoadOrder) -> Loaded:
        """See Carrier.carry."""
        return self._carrier.carry(order)

    def end_load(self, trial: str) -> None:
        """See Carrier.end."""
        self._carrier.end(trial)

    def end_trial(self, lane: int, loaded: Loaded) -> TrialResult:
        """See Lane.end_trial."""
        order = self._lane(lane).trial
        return self._ended(order, self._lane(lane).end_trial(loaded))

    def drop_trial(self, lane: int) -> None:
        """See Lane.drop_trial."""
        self._lane(lane).drop_trial()

    def rank_ended(self, lane: int) -> RankEnd | None:
        """See Lane.rank_ended."""
        return self._lane(lane).rank_ended()

    def abandon(self, lane: int) -> None:
        """See Lane.abandon."""
        self._lane(lane).abandon()

    def part_of_trial(self, order: PartOrder) -> PartResult:
        """See Lane.part."""
        return self._lane(order.lane).part(order)

    def stop_engine(self, lane: int = 0) -> None:
        """See Lane.stop."""
        self._lane(lane).stop()
        self.events.say("engine_stopped")

    def interrupt(self) -> None:
        """End what runs now: an installation, an engine's start or a trial."""
        self._interrupted.set()
        for lane in list(self._lanes.values()):
            lane.end_load()
        self._carrier.interrupt()

    def reaches_warehouse(self) -> bool:
        """Return whether the warehouse can be reached from this node, and is the very one that the driver means."""
        return reaches(self.config.warehouse, self.config.warehouse_id)

    def pending(self) -> list[Sealed]:
        """Return what was sealed on the node and not forgotten."""
        return self.outbox.pending()

    def upload(self, sealed: Sequence[Sealed]) -> None:
        """Copy what was sealed into the warehouse. Raises WarehouseError, DiskFull."""
        self.outbox.upload(Warehouse.at(self.config.warehouse), sealed)

    def finish(self) -> None:
        """End all engines and the sampler; what was sampled is sealed, and the node stays locked."""
        self.interrupt()
        with ExitStack() as ends:
            ends.callback(self._keep_events)
            ends.callback(self.power.close)
            for lane in self._lanes.values():
                ends.callback(lane.stop)

    def close(self) -> None:
        """Finish, and leave the node to others."""
        self._closed.set()
        try:
            self.finish()
        finally:
            self._lock.close()

    def _began(self, order: TrialOrder) -> None:
        self.events.say("trial_began", cell=order.cell.cell_id, trial=order.trial)

    def _ended(self, order: TrialOrder, result: TrialResult) -> TrialResult:
        failed = result.failure_class is not None
        about = {"cell": order.cell.cell_id, "trial": order.trial}
        ended = {"outcome": result.outcome, "failure_class": result.failure_class, "error": result.error}
        self.events.say("trial_ended", logging.WARNING if failed else logging.INFO, **about, **ended)
        return result

    def _keep_events(self) -> None:
        self.events.say("agent_finished")
        self.events.close()
        mine = f"{LOGS}/{escape(self.events.path.name)}"
        keep_logs(self.folder, self.warehouse, Secrets.here(*self._things.keys), mine)

    def _lane(self, number: int) -> Lane:
        return self._lanes.setdefault(number, Lane(number, self._things))

    def _watch_lease(self) -> None:
        while not self._closed.wait(LEASE_CHECK_S):
            if time.monotonic() - self._renewed > self.config.lease_s:
                self.events.say("lease_ended", logging.ERROR)
                # What hangs must not keep the node: the keeper ends the engine of an agent that is gone.
                over = threading.Timer(CLOSE_S, self._on_lease_end)
                over.daemon = True
                over.start()
                try:
                    self.close()
                finally:
                    self._on_lease_end()
                return
