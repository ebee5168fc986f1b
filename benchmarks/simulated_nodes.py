"""Nodes for scheduling.py: agents that sleep as long as a trial would take, and write the records of one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from joulemark import __version__
from joulemark.agents.orders import NodeFacts, StartOrder, StartResult, TrialOrder, TrialResult
from joulemark.agents.outbox import Sealed
from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import ClientHealth, EngineRecord, Interval, NodePart, Trace
from joulemark.warehouse.store.layout import segment_file, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

S = 1_000_000
EPOCH_US = 1_760_000_000_000_000
RECORD_S, WINDOW_S = 40, (20, 30)
"""Every trial has the records of 40 s with a window of 10, however long it is said to take."""
REQUESTS, TOKENS, POWER_HZ = 200, 32, 10
POWER_MW = 400_000
RESERVED = iter(range(1 << 62))


@dataclass
class Nodes:
    """What all simulated nodes share: ``scale`` simulated seconds pass in one real second."""

    scale: float
    start_s: float
    warehouse: Warehouse
    waits_s: float = 0.0
    """Real seconds that lanes waited for the driver between the end of one thing and the begin of the next."""
    cpu_s: float = 0.0
    """CPU seconds of the nodes' own work."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def waited(self, seconds: float) -> None:
        """Add what a lane waited."""
        with self._lock:
            self.waits_s += seconds

    def worked(self, seconds: float) -> None:
        """Add what a node worked."""
        with self._lock:
            self.cpu_s += seconds


class Reservation:
    """GPUs that nobody else has."""

    def __init__(self, node: Node, count: int) -> None:
        self.ids = tuple(f"GPU-{node.node}-{next(RESERVED)}-{i}" for i in range(count))

    def release(self) -> None:
        """Give them back."""


class SimulatedAgent:
    """One node. It answers as an agent does, and its power is constant, so that nothing speaks against a trial."""

    def __init__(self, node: Node, nodes: Nodes) -> None:
        self.node, self.nodes = node, nodes
        self.heard = self.exchanged = None
        self._devices: dict[int, tuple[str, ...]] = {}
        self._idle_since: dict[int, float] = {}
        self._lock = threading.Lock()
        self._records = 0

    def opened(self, _: float) -> NodeFacts:
        """Return the facts of a node that began at once."""
        return NodeFacts(self.node.node, "boot", 5, "cpu", 64, 1 << 40, (), (), None, {}, {"joulemark": __version__})

    def start_engine(self, order: StartOrder) -> StartResult:
        """Take as long as an engine takes to start."""
        self._busy(order.lane)
        self._devices[order.lane] = order.devices
        time.sleep(self.nodes.start_s / self.nodes.scale)
        self._idle(order.lane)
        return StartResult(EngineRecord("vllm", "1", "s", (), {}, {}, 1.0, "logs/s.log"), order.devices, 1, 2)

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """Take as long as the trial takes, and write its records."""
        self._busy(order.lane)
        ends = time.perf_counter() + order.cell.window.window_s / self.nodes.scale
        cpu = time.thread_time()
        part, traces = self._write(order, self._devices[order.lane])
        self.nodes.worked(time.thread_time() - cpu)
        time.sleep(max(0.0, ends - time.perf_counter()))
        health = ClientHealth(1.0, 100, 0.1, 100_000, REQUESTS, 0)
        start_us = part.window.start_us if part.window else 0
        self._idle(order.lane)
        return TrialResult("done", (), part, start_us - 15 * S, start_us + 20 * S, tuple(traces), health)

    def stop_engine(self, lane: int) -> None:
        """End it at once."""
        self._busy(lane)
        self._idle(lane)

    def reaches_warehouse(self) -> bool:
        """Whether records are written where they belong."""
        return True

    def pending(self) -> list[Sealed]:
        """Return what is still to be brought home: nothing."""
        return []

    def forget(self, names: list[str]) -> None:
        """Nothing is kept."""

    def finish(self) -> None:
        """There is nothing to end."""

    leave = interrupt = finish

    def _busy(self, lane: int) -> None:
        since = self._idle_since.pop(lane, None)
        if since is not None:
            self.nodes.waited(time.perf_counter() - since)

    def _idle(self, lane: int) -> None:
        self._idle_since[lane] = time.perf_counter()

    def _write(self, order: TrialOrder, devices: tuple[str, ...]) -> tuple[NodePart, list[Trace]]:
        with self._lock:
            number = self._records = self._records + 1
        at_us = EPOCH_US + number * 10 * RECORD_S * S
        window = Interval(at_us + WINDOW_S[0] * S, at_us + WINDOW_S[1] * S)
        warehouse, node = self.nodes.warehouse, self.node.node
        power = write_table(
            warehouse, DATASETS["power"], segment_file("power", node, f"{number:08d}"), _power(node, devices, at_us)
        )
        requests = _requests(order.trial, node, at_us)
        answers = write_table(warehouse, DATASETS["requests"], trial_file("requests", order.trial), requests)
        return NodePart(node, "boot", devices, "H100", window), [power, answers]


def _power(node: str, devices: tuple[str, ...], at_us: int) -> pa.Table:
    steps = np.arange(RECORD_S * POWER_HZ)
    t_us, energy_uj = at_us + steps * S // POWER_HZ, steps * POWER_MW * 1000 // POWER_HZ
    rows = len(steps) * len(devices)
    return _table(
        "power",
        rows,
        node=node,
        meter="nvml",
        device=np.repeat(np.array(devices, dtype=object), len(steps)),
        scope="gpu_board",
        fidelity="counter",
        t=np.tile(t_us, len(devices)),
        power_mw=POWER_MW,
        energy_uj=np.tile(energy_uj, len(devices)),
    )


def _requests(trial: str, node: str, at_us: int) -> pa.Table:
    sent = at_us + np.arange(REQUESTS) * RECORD_S * S // REQUESTS
    gap_us = 5_000
    ended = sent + gap_us * TOKENS
    return _table(
        "requests",
        REQUESTS,
        trial=trial,
        node=node,
        request=np.arange(REQUESTS),
        scheduled_at=sent,
        sent_at=sent,
        first_token_at=sent + gap_us,
        last_token_at=ended,
        ended_at=ended,
        input_tokens=100,
        asked_input_tokens=100,
        asked_output_tokens=TOKENS,
        output_tokens=TOKENS,
        untimed_tokens=0,
        status="ok",
        chunk_dt_us=[[gap_us] * TOKENS] * REQUESTS,
    )


def _table(dataset: str, rows: int, **values: object) -> pa.Table:
    schema = DATASETS[dataset].arrow
    columns = []
    for field_ in schema:
        value = values.get(field_.name)
        if value is None:
            columns.append(pa.nulls(rows, field_.type))
        elif isinstance(value, np.ndarray | list):
            array = pa.array(value)
            whole = array.cast(pa.int64()) if pa.types.is_timestamp(field_.type) else array
            columns.append(whole.cast(field_.type))
        else:
            columns.append(pa.repeat(pa.scalar(value, field_.type), rows))
    return pa.Table.from_arrays(columns, schema=schema)
