"""Agents and GPU reservations as Ray actors."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from joulemark.agents.orders import (
    AgentConfig,
    AgentProgress,
    NodeFacts,
    StartOrder,
    StartResult,
    TrialOrder,
    TrialResult,
)
from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.errors import ClusterError, DiskFull, JoulemarkError

AGENT_THREADS = 8
PROGRESS_S = 10.0


class RayAgent:
    """The agent of one node. Every call waits for its answer; a lost node or agent raises ClusterError."""

    def __init__(self, node: Node, config: AgentConfig) -> None:
        self.node = node
        self._actor: Any = (
            ray.remote(_AgentActor)
            .options(
                name=f"agent-{node.node}-{uuid.uuid4().hex[:6]}",
                num_cpus=0,
                max_concurrency=AGENT_THREADS,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.ray_id, soft=False),
            )
            .remote(config)
        )

    def describe_soon(self) -> Callable[[float], NodeFacts | None]:
        """Ask for the node's facts; the returned function waits so many seconds for them."""
        answer = self._actor.describe.remote()

        def wait(timeout_s: float) -> NodeFacts | None:
            ready, _ = ray.wait([answer], timeout=timeout_s)
            return self._get(answer) if ready else None

        return wait

    def progress(self) -> AgentProgress:
        """Renew the lease and return what the agent does. Raises TimeoutError where it does not answer soon."""
        answer: AgentProgress = self._get(self._actor.progress.remote(), PROGRESS_S)
        return answer

    def start_engine(self, order: StartOrder) -> StartResult:
        """See NodeAgent.start_engine."""
        answer: StartResult = self._get(self._actor.start_engine.remote(order))
        return answer

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """See NodeAgent.run_trial."""
        answer: TrialResult = self._get(self._actor.run_trial.remote(order))
        return answer

    def stop_engine(self) -> None:
        """See NodeAgent.stop_engine."""
        self._get(self._actor.stop_engine.remote())

    def interrupt(self) -> None:
        """End the running trial; does not wait."""
        self._actor.interrupt.remote()

    def abandon(self) -> None:
        """End an agent that has not begun: one that waits for the node's lock answers no call."""
        ray.kill(self._actor)

    def close(self) -> None:
        """End the agent, its engine and its sampler."""
        try:
            self._get(self._actor.close.remote())
        except JoulemarkError:
            # It is gone already; the next agent on that node ends what it left.
            return
        ray.kill(self._actor)

    def _get(self, answer: Any, timeout_s: float | None = None) -> Any:
        try:
            return ray.get(answer, timeout=timeout_s)
        except GetTimeoutError as error:
            raise TimeoutError(f"the agent on {self.node.node} did not answer in {timeout_s} s") from error
        except (RayActorError, RayTaskError) as error:
            raise user_error(self.node.node, error) from error


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
            self.ids = tuple(ray.get(self._actor.devices.remote()))

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

    def __init__(self, config: AgentConfig) -> None:
        from joulemark.agents.agent import NodeAgent

        self._agent = NodeAgent(config, on_lease_end=lambda: os._exit(0))

    def describe(self) -> NodeFacts:
        return self._agent.describe()

    def progress(self) -> AgentProgress:
        self._agent.renew()
        return self._agent.progress()

    def start_engine(self, order: StartOrder) -> StartResult:
        return self._agent.start_engine(order)

    def run_trial(self, order: TrialOrder) -> TrialResult:
        return self._agent.run_trial(order)

    def stop_engine(self) -> None:
        self._agent.stop_engine()

    def interrupt(self) -> None:
        self._agent.interrupt()

    def close(self) -> None:
        self._agent.close()


def user_error(node: str, error: RayActorError | RayTaskError) -> Exception:
    """Return what went wrong on a node as users should see it; a RuntimeError where it is a fault of ours."""
    # An agent that fails while it is made takes its actor along; Ray keeps that error as the first argument.
    failed = next((e for e in (error, *error.args) if isinstance(e, RayTaskError)), None)
    cause: object = failed.cause if failed is not None else None
    if isinstance(cause, JoulemarkError):
        return cause
    if isinstance(cause, OSError):
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            where = cause.filename or "what lies below JOULEMARK_HOME"
            return DiskFull(f"no space left on {node} to write {where}; free some and run the same command again")
        return ClusterError(f"{cause.filename or 'a file'} on {node}: {cause.strerror or cause}")
    if failed is error:
        return RuntimeError(f"{node}: {failed.traceback_str}")
    return ClusterError(f"the agent on {node} was lost: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
