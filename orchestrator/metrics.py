"""Every metric that a running sweep shows while it runs, in one table, and its readings at a moment. Pure.

What is not known has no reading, so that its series ends: it is never shown as 0. Figures are made from records, not
from these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from joulemark.agents.orders import AgentProgress
from joulemark.orchestrator.progress import NodeLine, Snapshot, step
from joulemark.warehouse.schema.trial import TrialManifest

OUTCOMES = ("valid", "invalid", "failed")
STATES = ("idle", "working", "lost")
"""Of a node's lanes the last one counts."""
IDLE = "idle"
"""What an agent says that it does when it does nothing."""


@dataclass(frozen=True)
class Metric:
    """A metric as Prometheus knows it, but for the ``ray_`` that Ray puts before its name."""

    name: str
    kind: Literal["gauge", "counter"]
    unit: str
    tags: tuple[str, ...]
    help: str

    @property
    def exported(self) -> str:
        """The name under which Prometheus finds it."""
        return f"ray_{self.name}"


@dataclass(frozen=True)
class Reading:
    """What a gauge is, or by how much a counter rises. ``tags`` are the values of the metric's tags, in its order."""

    metric: Metric
    value: float
    tags: tuple[str, ...]


PLANNED = Metric("joulemark_sweep_planned_trials", "gauge", "trials", ("sweep",), "Trials that the sweep asks for")
VALID = Metric("joulemark_sweep_valid_trials", "gauge", "trials", ("sweep",), "Those of them that are there and valid")
ATTEMPTS = Metric(
    "joulemark_sweep_attempts", "gauge", "attempts", ("sweep", "verdict"), "Attempts of this run by their verdict"
)
FAILURES = Metric(
    "joulemark_sweep_failures_total", "counter", "attempts", ("sweep", "failure_class"), "Failed attempts by class"
)
LEFT = Metric("joulemark_sweep_left_seconds", "gauge", "s", ("sweep",), "Forecast of the time that is left")
NODES = Metric("joulemark_sweep_nodes", "gauge", "nodes", ("sweep", "state"), "Nodes that the sweep uses, by state")
POWER = Metric(
    "joulemark_node_power_watts", "gauge", "W", ("sweep", "node"), "Power of the moment, over what the sampler adds up"
)
RATE = Metric(
    "joulemark_node_output_tokens_per_second",
    "gauge",
    "tokens/s",
    ("sweep", "node", "lane"),
    "Output tokens that the load client receives",
)
ENERGY = Metric(
    "joulemark_node_output_token_joules",
    "gauge",
    "J",
    ("sweep", "node"),
    "Power over rate of the moment: for the eye, no figure of a trial",
)
RESTARTS = Metric(
    "joulemark_node_sampler_restarts", "gauge", "restarts", ("sweep", "node"), "How often the agent's sampler died"
)
DOING = Metric("joulemark_node_doing", "gauge", "1", ("sweep", "node", "lane", "doing"), "1 for what a lane does now")

METRICS = (PLANNED, VALID, ATTEMPTS, FAILURES, LEFT, NODES, POWER, RATE, ENERGY, RESTARTS, DOING)


def of_sweep(now: Snapshot) -> Iterator[Reading]:
    """Yield what the driver knows of a sweep."""
    yield Reading(PLANNED, now.wanted, (now.sweep,))
    yield Reading(VALID, now.had + now.valid, (now.sweep,))
    for verdict in OUTCOMES:
        yield Reading(ATTEMPTS, getattr(now, verdict), (now.sweep, verdict))
    if now.left_s is not None:
        yield Reading(LEFT, now.left_s, (now.sweep,))
    states = Counter(_states(now.nodes).values())
    for state in STATES:
        yield Reading(NODES, states[state], (now.sweep, state))


def of_trial(manifest: TrialManifest) -> Iterator[Reading]:
    """Yield what a committed attempt adds."""
    if manifest.failure_class is not None:
        yield Reading(FAILURES, 1, (manifest.sweep, manifest.failure_class))


def of_agent(sweep: str, node: str, now: AgentProgress) -> Iterator[Reading]:
    """Yield what the agent of a node knows."""
    if now.sampler_restarts is not None:
        yield Reading(RESTARTS, now.sampler_restarts, (sweep, node))
    if now.watts is not None:
        yield Reading(POWER, now.watts, (sweep, node))
    lanes = now.lanes or (now,)
    for number, lane in enumerate(lanes, 1):
        yield Reading(DOING, 1, (sweep, node, str(number), step(lane.doing)))
        if lane.tokens_per_s is not None:
            yield Reading(RATE, lane.tokens_per_s, (sweep, node, str(number)))
    rate = sum(lane.tokens_per_s or 0.0 for lane in lanes)
    if now.watts is not None and rate > 0:
        yield Reading(ENERGY, now.watts / rate, (sweep, node))


def _states(lines: list[NodeLine]) -> dict[str, str]:
    """Return the state of each node; its lanes have lines of their own."""
    found: dict[str, str] = {}
    for line in lines:
        node = line.node.partition(" #")[0]
        state = "lost" if line.lost else "idle" if line.doing == IDLE else "working"
        found[node] = max(state, found.get(node, IDLE), key=STATES.index)
    return found
