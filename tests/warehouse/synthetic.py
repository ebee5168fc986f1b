"""Warehouses with known truth, written through the real store functions.

A trial lasts 40 s: cold idle from 1 to 6, loaded idle from 9 to 14, window from 20 to 30. Power is constant in each
phase, so energies are known exactly; requests start and deliver their tokens at instants that are known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.identity import device_set_id, trial_id
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart, Trace, TrialManifest
from joulemark.warehouse.store.layout import segment_file, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.store.parquet import write_table
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload

S = 1_000_000
EPOCH_US = 1_760_000_000_123_457
TRIAL_US = 200 * S
BUSY_FROM_S, LOADED_FROM_S, END_S = 15, 7, 40
WINDOW_S, LOADED_S, COLD_S = (20, 30), (9, 14), (1, 6)


@dataclass(frozen=True)
class Meter:
    """One meter for one device. ``share`` scales the trial's watts; ``step_us`` is how often its counter moves."""

    name: str = "cpu-model"
    device: str = "cpu"
    scope: str = "cpu_process"
    fidelity: str = "modelled"
    poll_us: int = 50_000
    step_us: int = 50_000
    power: bool = True
    counter: bool = True
    share: float = 1.0
    offset_uj: int = 7_000_000


@dataclass(frozen=True)
class Spec:
    """One trial. Watts are of a meter with share 1."""

    model: str = "tiny-dense"
    architecture: str = "dense"
    quantization: str = "q8_0"
    accelerator: str = "cpu"
    devices: tuple[str, ...] = ("cpu",)
    nodes: tuple[str, ...] = ("node-a",)
    meters: tuple[Meter, ...] = (Meter(),)
    concurrency: int = 2
    input_tokens: int = 64
    output_tokens: int = 16
    token_us: int = 50_000
    ttft_us: int = 200_000
    busy_w: float = 50.0
    loaded_w: float = 12.0
    cold_w: float = 8.0
    start: int = 0
    repeat: int = 0
    attempt: int = 0
    planned_repeats: int = 2
    planned_starts: int = 1
    outcome: str = "done"
    reasons: tuple[str, ...] = ()
    failure_class: str | None = None
    error: str | None = None
    simulated: bool = False
    sweep: str = "made-up"
    fail_every: int = 0
    chunk: int = 1
    seed: int = 0
    at_us: int | None = None
    power_limit_w: int | None = None
    requirement_set: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    """What the node tells of them."""
    args: dict[str, str] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    """More facts of the model."""

    @property
    def cell(self) -> Cell:
        """The cell."""
        deployment = Deployment(
            ModelRef(self.model, "generated", self.model),
            self.quantization,
            "f16",
            EngineRef("llamacpp", "1.0", dict(self.args)),
            self.accelerator,
            Parallel(tensor=len(self.devices)),
            self.power_limit_w,
        )
        workload = Workload(self.input_tokens, self.output_tokens, self.concurrency, seed=self.seed)
        return Cell(deployment, workload, WindowPolicy(5.0, 10.0))

    @property
    def trial(self) -> str:
        """Its name."""
        devices = device_set_id(self.nodes[0], self.devices)
        return trial_id(self.cell.cell_id, devices, self.start, self.repeat, self.attempt)


@dataclass(frozen=True)
class Truth:
    """What is known of a trial without reading the warehouse. Energies are of a meter with share 1."""

    trial: str
    cell: str
    window: Interval
    window_j: float
    output_tokens: int
    arrivals_us: tuple[tuple[int, int], ...]
    """(instant, tokens) of every chunk."""
    requests: tuple[tuple[int, int], ...]
    """(sent, last token) of every request."""


def add_trial(warehouse: Warehouse, spec: Spec, number: int) -> Truth:
    """Write everything of one trial, the manifest last; ``number`` sets its place in time."""
    at_us = EPOCH_US + number * TRIAL_US if spec.at_us is None else spec.at_us
    traces = [_write_power(warehouse, spec, node, at_us, number) for node in spec.nodes]
    table, truth = request_table(spec, at_us)
    traces.append(write_table(warehouse, DATASETS["requests"], trial_file("requests", spec.trial), table))
    commit(warehouse, manifest(spec, at_us, tuple(traces)))
    return truth


def manifest(spec: Spec, at_us: int, traces: tuple[Trace, ...] = ()) -> TrialManifest:
    """Return the trial's manifest."""
    cell = spec.cell
    intervals = [Interval(at_us + a * S, at_us + b * S) for a, b in (WINDOW_S, COLD_S, LOADED_S)]
    parts = tuple(NodePart(n, f"boot-{n}", spec.devices, spec.accelerator, *intervals) for n in spec.nodes)
    if spec.outcome == "failed":
        parts = tuple(replace(p, window=None) for p in parts)
    return TrialManifest(
        trial=spec.trial,
        cell=cell.cell_id,
        deployment=cell.deployment.deployment_id,
        sweep=spec.sweep,
        start=spec.start,
        repeat=spec.repeat,
        attempt=spec.attempt,
        factors=cell.factors,
        planned_repeats=spec.planned_repeats,
        planned_starts=spec.planned_starts,
        outcome=spec.outcome,
        reasons=spec.reasons,
        nodes=parts,
        started_us=at_us,
        ended_us=at_us + END_S * S,
        model={"architecture": spec.architecture, "total_params": 5_800_000, "active_params": 5_800_000} | spec.facts,
        failure_class=spec.failure_class,
        error=spec.error,
        engine=_engine(spec),
        traces=traces,
        simulated=spec.simulated,
    )


def _engine(spec: Spec) -> EngineRecord:
    start = f"{spec.trial[:8]}-s{spec.start}"
    return EngineRecord(
        "llamacpp", "1.0", start, ("serve",), {}, {}, 0.4, "log", spec.requirement_set, dict(spec.weights)
    )


def energy_uj(spec: Spec, t_us: np.ndarray, at_us: int) -> np.ndarray:
    """Return the true energy since ``at_us``, in microjoules."""
    since_s = (t_us - at_us) / S
    loaded_s = np.clip(since_s, LOADED_FROM_S, BUSY_FROM_S) - LOADED_FROM_S
    busy_s = np.maximum(since_s, BUSY_FROM_S) - BUSY_FROM_S
    cold_s = np.minimum(since_s, LOADED_FROM_S)
    return np.rint((cold_s * spec.cold_w + loaded_s * spec.loaded_w + busy_s * spec.busy_w) * 1e6).astype(np.int64)


def power_table(spec: Spec, meter: Meter, node: str, at_us: int) -> pa.Table:
    """Return one meter's readings over the whole trial: its counter moves only at multiples of its step."""
    t_us = np.arange(at_us, at_us + END_S * S + 1, meter.poll_us, dtype=np.int64)
    stepped = at_us + (t_us - at_us) // meter.step_us * meter.step_us
    energy = meter.offset_uj + np.rint(energy_uj(spec, stepped, at_us) * meter.share).astype(np.int64)
    since_s = (t_us - at_us) / S
    watts = np.select([since_s < LOADED_FROM_S, since_s < BUSY_FROM_S], [spec.cold_w, spec.loaded_w], spec.busy_w)
    power = np.rint(watts * meter.share * 1e3).astype(np.int32)
    n = len(t_us)
    columns = {
        "node": [node] * n,
        "meter": [meter.name] * n,
        "device": [meter.device] * n,
        "scope": [meter.scope] * n,
        "fidelity": [meter.fidelity] * n,
        "t": pa.array(t_us, pa.timestamp("us", tz="UTC")),
        "power_mw": pa.array(power, pa.int32(), mask=np.full(n, not meter.power)),
        "energy_uj": pa.array(energy, pa.int64(), mask=np.full(n, not meter.counter)),
        "reason": pa.nulls(n, pa.string()),
    }
    return pa.table(columns, schema=DATASETS["power"].arrow)


def request_table(spec: Spec, at_us: int) -> tuple[pa.Table, Truth]:
    """Return a closed loop's requests: each slot sends the next as soon as the last has ended."""
    rows, arrivals, spans = [], [], []
    for slot in range(spec.concurrency):
        sent = at_us + BUSY_FROM_S * S + slot * 37_003
        while sent < at_us + (END_S - 3) * S:
            sizes = [spec.chunk] * (spec.output_tokens // spec.chunk)
            dts = [spec.ttft_us, *[spec.token_us] * (len(sizes) - 1)]
            instants = (sent + np.cumsum(dts)).tolist()
            failed = bool(spec.fail_every) and len(rows) % spec.fail_every == spec.fail_every - 1
            arrivals += zip(instants, sizes, strict=True)
            spans.append((sent, instants[-1]))
            rows.append(_request(spec, len(rows), sent, dts, instants, sizes, failed=failed))
            sent = instants[-1] + 1_000
    table = pa.Table.from_pylist(rows, schema=DATASETS["requests"].arrow)
    window = Interval(at_us + WINDOW_S[0] * S, at_us + WINDOW_S[1] * S)
    tokens = sum(n for t, n in arrivals if window.start_us <= t < window.end_us)
    return table, Truth(
        spec.trial,
        spec.cell.cell_id,
        window,
        spec.busy_w * window.seconds,
        tokens,
        tuple(arrivals),
        tuple(spans),
    )


def _request(
    spec: Spec, number: int, sent: int, dts: list[int], instants: list[int], sizes: list[int], *, failed: bool
) -> dict[str, object]:
    return {
        "trial": spec.trial,
        "node": spec.nodes[0],
        "request": number,
        "scheduled_at": sent,
        "sent_at": sent,
        "first_token_at": instants[0],
        "last_token_at": instants[-1],
        "ended_at": instants[-1] + 500,
        "asked_input_tokens": spec.input_tokens,
        "asked_output_tokens": spec.output_tokens,
        "input_tokens": spec.input_tokens,
        "output_tokens": None if failed else sum(sizes),
        "cached_tokens": 0,
        "untimed_tokens": 0,
        "status": "failed" if failed else "ok",
        "error": "made to fail" if failed else None,
        "chunk_dt_us": dts,
        "chunk_tokens": None if spec.chunk == 1 else sizes,
    }


def _write_power(warehouse: Warehouse, spec: Spec, node: str, at_us: int, number: int) -> Trace:
    table = pa.concat_tables([power_table(spec, m, node, at_us) for m in spec.meters])
    return write_table(warehouse, DATASETS["power"], segment_file("power", node, f"{number:06d}"), table)


def cells(
    warehouse: Warehouse, specs: list[Spec], *, repeats: int = 2, spread: float = 0.0, seed: int = 1
) -> list[Truth]:
    """Add ``repeats`` trials of each spec, their busy watts spread by a lognormal of that standard deviation."""
    random = np.random.default_rng(seed)
    truths = []
    for spec in specs:
        for repeat in range(repeats):
            watts = spec.busy_w * float(np.exp(random.normal(0, spread)))
            watts = round(watts, 3)
            one = replace(spec, repeat=repeat, busy_w=watts, planned_repeats=repeats)
            truths.append(add_trial(warehouse, one, len(truths)))
    return truths
