"""The agent of a node as a named Ray actor, and what a driver asks of it.

Orders are numbered and their answers are fetched apart, so that every message can be sent again: a cut network for
some seconds costs nothing but these seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from joulemark.agents.clock import NodeClock
from joulemark.agents.clock_offset import Exchange
from joulemark.agents.operations import Operations
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
from joulemark.agents.outbox import Sealed
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.metrics import of_agent
from joulemark.orchestrator.ray_calls import Calls
from joulemark.orchestrator.ray_metrics import Exporter
from joulemark.warehouse.errors import ClusterError, NodeLost

AGENT_THREADS = 8
POLL_S = 0.5
LOST_S = 30.0
"""An agent that has not answered for this long is given up; its lease outlasts this."""
CLOCK_EVERY_S = 10.0
EXCHANGES = 8
"""Of so many, the quickest tells of the clock."""
_NODE = "node"
"""Orders to the node as a whole; its lanes have series of their own."""
ORDERS = frozenset(
    {
        *("prepare_engine", "start_engine", "run_trial", "part_of_trial", "stop_engine", "rank_ended", "abandon"),
        *("begin_trial", "carry", "end_load", "end_trial", "drop_trial"),
        *("free_ports", "reaches_warehouse", "pending", "upload", "finish"),
    }
)
MADE_S = 180.0
"""How long a node may take to start the agent's process."""


@dataclass(frozen=True)
class Look:
    """What an agent shows: the latest order of each series that is over, and what it does."""

    over: dict[str, int]
    progress: AgentProgress


class RayAgent:
    """The agent of one node. Every order waits for its answer; a lost node or agent raises NodeLost.

    ``heard`` is given what the agent does, ``exchanged`` what tells of its clock.
    """

    def __init__(
        self,
        node: Node,
        config: AgentConfig,
        holder: str,
        clock: NodeClock,
    ) -> None:
        self.node = node
        self.exchanged: Callable[[Sequence[Exchange]], None] | None = None
        self.heard: Callable[[AgentProgress], None] = lambda _: None
        self._clock = clock
        self._calls = Calls(f"the agent on {node.node}", LOST_S)
        self._actor: Any = (
            ray.remote(_AgentActor)
            .options(
                name=agent_name(node.node),
                num_cpus=0,
                max_concurrency=AGENT_THREADS,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.ray_id, soft=False),
            )
            .remote(config, holder)
        )
        self._given: dict[str, int] = {}
        self._over: dict[str, int] = {}
        self._lost: NodeLost | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"watch {node.node}", daemon=True)
        try:
            self._opening = self._begin(_NODE, "open", wait_s=MADE_S)
        except BaseException:
            ray.kill(self._actor)
            raise
        self._watcher.start()

    @property
    def lost(self) -> NodeLost | None:
        """Why the agent does not answer any more; None as long as it does."""
        with self._changed:
            return self._lost

    def opened(self, wait_s: float) -> NodeFacts | None:
        """Wait so long for the node's facts; None where it has not given them yet: others may hold the node."""
        if not self._wait(_NODE, self._opening, wait_s):
            return None
        facts: NodeFacts = self._answer(_NODE, self._opening)
        return facts

    def prepare_engine(self, order: StartOrder) -> StartResult:
        """See NodeAgent.prepare_engine."""
        answer: StartResult = self._do(_lane(order.lane), "prepare_engine", order)
        return answer

    def free_ports(self) -> int:
        """See NodeAgent.free_ports."""
        return int(self._do(_NODE, "free_ports"))

    def start_engine(self, order: StartOrder) -> StartResult:
        """See NodeAgent.start_engine."""
        answer: StartResult = self._do(_lane(order.lane), "start_engine", order)
        return answer

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """See NodeAgent.run_trial."""
        answer: TrialResult = self._do(_lane(order.lane), "run_trial", order)
        return answer

    def begin_trial(self, order: TrialOrder) -> Target:
        """See NodeAgent.begin_trial."""
        answer: Target = self._do(_lane(order.lane), "begin_trial", order)
        return answer

    def carry(self, order: LoadOrder) -> Loaded:
        """See NodeAgent.carry; beside other loads."""
        answer: Loaded = self._do(f"load of {order.source}", "carry", order)
        return answer

    def end_load(self, trial: str) -> None:
        """See NodeAgent.end_load."""
        self._do("ends of loads", "end_load", trial)

    def end_trial(self, lane: int, loaded: Loaded) -> TrialResult:
        """See NodeAgent.end_trial."""
        answer: TrialResult = self._do(_lane(lane), "end_trial", lane, loaded)
        return answer

    def drop_trial(self, lane: int) -> None:
        """See NodeAgent.drop_trial."""
        self._do(_lane(lane), "drop_trial", lane)

    def part_of_trial(self, order: PartOrder) -> PartResult:
        """See NodeAgent.part_of_trial."""
        answer: PartResult = self._do(_lane(order.lane), "part_of_trial", order)
        return answer

    def rank_ended(self, lane: int) -> RankEnd | None:
        """See NodeAgent.rank_ended; beside what the lane does otherwise."""
        answer: RankEnd | None = self._do(f"rank in {_lane(lane)}", "rank_ended", lane)
        return answer

    def abandon(self, lane: int) -> None:
        """See NodeAgent.abandon."""
        self._do(_NODE, "abandon", lane)

    def stop_engine(self, lane: int) -> None:
        """See NodeAgent.stop_engine."""
        self._do(_lane(lane), "stop_engine", lane)

    def reaches_warehouse(self) -> bool:
        """See NodeAgent.reaches_warehouse."""
        return bool(self._do(_NODE, "reaches_warehouse"))

    def pending(self) -> list[Sealed]:
        """Return what was sealed on the node and not forgotten."""
        sealed: list[Sealed] = self._do(_NODE, "pending")
        return sealed

    def upload(self, sealed: Sequence[Sealed]) -> None:
        """See NodeAgent.upload."""
        self._do(_NODE, "upload", tuple(sealed))

    def chunk(self, name: str, offset: int) -> bytes:
        """See Outbox.chunk."""
        content: bytes = self._call("chunk", name, offset)
        return content

    def forget(self, names: Sequence[str]) -> None:
        """See Outbox.forget."""
        if names:
            self._call("forget", tuple(names))

    def interrupt(self) -> None:
        """End what runs; does not wait."""
        self._actor.interrupt.remote()

    def finish(self) -> None:
        """End the engine and the sampler; see NodeAgent.finish."""
        self._do(_NODE, "finish")

    def leave(self) -> None:
        """Leave the node: whatever the agent still does ends with it."""
        self._closed.set()
        ray.kill(self._actor)
        self._watcher.join()

    def _do(self, series: str, what: str, *arguments: Any) -> Any:
        number = self._begin(series, what, *arguments)
        self._wait(series, number, None)
        return self._answer(series, number)

    def _begin(self, series: str, what: str, *arguments: Any, wait_s: float = LOST_S) -> int:
        with self._changed:
            number = self._given[series] = self._given.get(series, 0) + 1
        self._call("begin", series, number, what, arguments, wait_s=wait_s)
        return number

    def _wait(self, series: str, number: int, wait_s: float | None) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(series, number) or self._lost is not None, wait_s)
            if self._lost is not None:
                raise self._lost
            return self._is_over(series, number)

    def _is_over(self, series: str, number: int) -> bool:
        return self._over.get(series, 0) >= number

    def _answer(self, series: str, number: int) -> Any:
        return self._call("answer", series, number)

    def _call(self, method: str, *arguments: Any, wait_s: float = LOST_S) -> Any:
        asked = getattr(self._actor, method)
        try:
            return self._calls.patient(asked, *arguments, give_up=lambda: self._lost, wait_s=wait_s)
        except NodeLost as error:
            self._lose(error)
            raise

    def _watch(self) -> None:
        """Renew the lease, pass on what the agent does and how its clock goes, notice that it is lost."""
        clock_at = 0.0
        while not self._closed.is_set():
            try:
                with self._changed:
                    given, seen = dict(self._given), dict(self._over)
                look: Look = self._calls.patient(
                    self._actor.look, given, seen, POLL_S, give_up=lambda: self._lost, closed=self._closed
                )
                self._saw(look)
                if self.exchanged is not None and time.monotonic() >= clock_at:
                    clock_at = time.monotonic() + CLOCK_EVERY_S
                    self.exchanged(self._exchanges())
            except Exception as error:  # noqa: BLE001 -- whatever it is: nobody watches this agent any more
                self._lose(error if isinstance(error, NodeLost) else NodeLost(str(error)))
                return

    def _saw(self, look: Look) -> None:
        self.heard(look.progress)
        with self._changed:
            if any(number > self._over.get(series, 0) for series, number in look.over.items()):
                self._over |= look.over
                self._changed.notify_all()

    def _exchanges(self) -> list[Exchange]:
        exchanges = []
        for _ in range(EXCHANGES):
            before_us = self._clock.now_us()
            other_us = self._calls.patient(self._actor.now_us, give_up=lambda: self._lost, closed=self._closed)
            exchanges.append(Exchange(before_us, other_us, self._clock.now_us()))
        return exchanges

    def _lose(self, error: NodeLost) -> None:
        with self._changed:
            self._lost = self._lost or error
            self._changed.notify_all()


def _lane(lane: int) -> str:
    return f"lane {lane}"


def agent_name(node: str) -> str:
    """Return the name of a node's agent: one for the node, whoever its driver is."""
    return f"agent-{node}"


def holder_of(node: str) -> str | None:
    """Return whom the agent of a node serves; None where it has none or it does not say.

    Ray keeps the name of a dead agent as long as its driver hangs: it is given free.
    """
    actor = Calls.once(lambda: ray.get_actor(agent_name(node)))
    if actor is None:
        return None
    try:
        return str(ray.get(actor.holder.remote(), timeout=POLL_S))
    except RayError as error:
        if isinstance(error, ActorDiedError):
            ray.kill(actor)
        return None


class Devices:
    """A reservation of GPUs on one node, held until ``release``."""

    def __init__(self, node: Node, count: int) -> None:
        self._actor: Any = None
        self.ids: tuple[str, ...] = ()
        if count:
            strategy = NodeAffinitySchedulingStrategy(node.ray_id, soft=False)
            self._actor = (
                ray.remote(_Reservation).options(num_cpus=0, num_gpus=count, scheduling_strategy=strategy).remote()
            )
            try:
                self.ids = tuple(Calls(f"the reservation on {node.node}", MADE_S).patient(self._actor.devices))
            except NodeLost as error:
                self.release()
                raise NodeLost(f"{count} GPUs on {node.node} are not to be had: {error}") from error

    def release(self) -> None:
        """Give the GPUs back."""
        if self._actor is not None:
            ray.kill(self._actor)


class _Reservation:
    """Holds the GPUs that Ray gave it; the agent starts the engine on them."""

    def devices(self) -> list[str]:
        """Return the ids as CUDA_VISIBLE_DEVICES takes them."""
        return [str(i) for i in ray.get_gpu_ids()]


class _AgentActor:
    """The node agent as a Ray actor. It leaves with its lease."""

    def __init__(self, config: AgentConfig, holder: str) -> None:
        self._config, self._holder = config, holder
        self._operations, self._exporter = Operations(), Exporter()
        self._agent: Any = None

    def holder(self) -> str:
        return self._holder

    def begin(self, series: str, number: int, what: str, arguments: tuple[Any, ...]) -> None:
        if what == "open":
            self._operations.begin(series, number, self._open)
        elif what in ORDERS and self._agent is not None:
            self._operations.begin(series, number, partial(getattr(self._agent, what), *arguments))
        else:
            raise ClusterError(f"the agent cannot {what!r} now")

    def look(self, given: dict[str, int], seen: dict[str, int], wait_s: float) -> Look:
        if self._agent is not None:
            self._agent.renew()
        over = self._operations.over(given, seen, wait_s)
        doing = self._agent.progress() if self._agent is not None else AgentProgress("waiting for its turn")
        self._exporter.sometimes(lambda: of_agent(self._config.sweep, self._config.node, doing))
        return Look(over, doing)

    def answer(self, series: str, number: int) -> Any:
        return self._operations.answer(series, number)

    def now_us(self) -> int:
        return int(self._agent.clock.now_us())

    def chunk(self, name: str, offset: int) -> bytes:
        return bytes(self._agent.outbox.chunk(name, offset))

    def forget(self, names: tuple[str, ...]) -> None:
        self._agent.outbox.forget(names)

    def interrupt(self) -> None:
        if self._agent is not None:
            self._agent.interrupt()

    def _open(self) -> NodeFacts:
        from joulemark.agents.agent import NodeAgent

        agent = NodeAgent(self._config, on_lease_end=lambda: os._exit(0))
        self._agent = agent
        return agent.describe()
