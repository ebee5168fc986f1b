"""What the driver costs for each trial, and whether it keeps simulated nodes busy.

    python benchmarks/scheduling.py [--cells 10000] [--nodes 1 50 1000] [--run 2000] [--rate 40]

First the schedule alone is played through, with every trial as long as it is expected to be. Then sweeps of ``--run``
trials are run: the real driver, schedule, commit and judge; agents that sleep instead of measuring, and write the
records of a trial as a node does. Neither Ray nor an engine. Ends with 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import psutil
from simulated_nodes import Nodes, Reservation, SimulatedAgent

from joulemark.agents.orders import AgentConfig
from joulemark.orchestrator.driver import Driver
from joulemark.orchestrator.forecast import Outlook, best_order, lanes_by_accelerator
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.plan import Group, groups
from joulemark.orchestrator.progress import Progress
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.share_out import share_out
from joulemark.orchestrator.verdicts import Verdict, Verdicts
from joulemark.warehouse.build.judge import Judge
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import manifest_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload

GPUS = 8
OVERHEAD_S, BUSY = 0.05, 0.95
START_S = 60.0
UNEVEN = 30.0
"""The longest trials are this many times as long as the shortest."""
CELLS_EACH = 10
"""Cells that share a deployment."""


def sweep(cells: int, isolation: str) -> list[Cell]:
    """Return cells of uneven length: 10 to 300 s, on 1, 2, 4 or 8 GPUs."""
    draw = random.Random(1)  # noqa: S311 -- lengths, not secrets
    found = []
    for number in range(cells // CELLS_EACH):
        devices = draw.choice((1, 2, 4)) if isolation == "gpu" else GPUS
        deployment = Deployment(
            ModelRef(f"m{number}", "path", f"/m{number}"),
            "bf16",
            "auto",
            EngineRef("vllm", "1"),
            "H100",
            Parallel(tensor=devices),
        )
        for load in range(CELLS_EACH):
            seconds = round(10 * UNEVEN ** draw.random(), 3)
            found.append(Cell(deployment, Workload(100, 50, 1 + load), WindowPolicy(0.0, seconds)))
    return found


@dataclass(frozen=True)
class Figures:
    """Of one run, for each trial."""

    overhead_s: float
    cpu_s: float
    memory_bytes: float
    threads: int
    trials_per_s: float


def trial_s(group: Group) -> float:
    """Return the seconds that a group measures."""
    return sum(t.cell.window.window_s for t in group.trials)


def cost_s(group: Group) -> float:
    """Return the seconds that a group takes."""
    return START_S + trial_s(group)


def bound_s(work: list[Group], nodes: int) -> float:
    """Return what no schedule can be quicker than: all GPUs busy all the time, or the longest group."""
    gpu_s = sum(cost_s(g) * g.deployment.parallel.devices for g in work)
    return max(gpu_s / (nodes * GPUS), *map(cost_s, work))


def play(cells: int, number: int, isolation: str) -> bool:
    """Plan a sweep and play the schedule through; print a line, and return whether the nodes are busy enough."""
    nodes = [Node(f"n{i:04d}", f"id-{i}", GPUS, "H100") for i in range(number)]
    whole = groups(sweep(cells, isolation), 3, 1, ())
    lanes = Lanes.of(isolation, whole)
    begun = time.process_time()
    work = share_out(whole, nodes, cost_s, lambda _: START_S, lanes)
    planned_s, begun = time.process_time() - begun, time.process_time()
    takes_s, _ = best_order(work, nodes, lambda g: cost_s(g) + OVERHEAD_S * len(g.trials), lanes)
    each_s = (time.process_time() - begun) / len(work)
    busy = bound_s(work, number) / takes_s
    print(
        f"{number:14} {isolation:>12} {len(whole):9} {len(work):8} {planned_s:11.2f} s {1e3 * each_s:8.2f} ms "
        f"{busy:8.1%}{'' if busy >= BUSY else '  MISSED'}",
        flush=True,
    )
    return busy >= BUSY


def run(cells: int, number: int, isolation: str, rate: float, folder: str) -> Figures:
    """Run a sweep on ``number`` simulated nodes, so quickly that about ``rate`` trials end in a second."""
    nodes = [Node(f"n{i:04d}", f"id-{i}", GPUS, "H100") for i in range(number)]
    warehouse = Warehouse.at(folder)
    whole = groups(sweep(cells, isolation), 1, 1, ())
    lanes = Lanes.of(isolation, whole)
    work = share_out(whole, nodes, cost_s, lambda _: START_S, lanes)
    planned_s, wide = best_order(work, nodes, cost_s, lanes)
    cluster = Nodes(planned_s * rate / cells, START_S, warehouse)
    judge = Judge(warehouse)
    verdicts = Verdicts(judge.reasons)
    threads = [0]
    outlook = Outlook.of(
        work, lambda t: t.cell.window.window_s, lambda _: START_S, lanes_by_accelerator(work, nodes, lanes.on)
    )
    progress = Progress("bench", cells, 0, outlook=outlook)

    memory: list[int] = []

    def keep(manifest: TrialManifest) -> Verdict:
        commit(warehouse, manifest)
        memory.append(psutil.Process().memory_info().rss)
        threads.append(threading.active_count())
        return verdicts.ask(manifest)

    driver = Driver(
        warehouse=warehouse,
        sweep=SweepFacts("bench", 1, 1, {}),
        living=lambda: nodes,
        config=lambda node: AgentConfig(node.node, folder),
        commit=keep,
        attempts={},
        progress=progress,
        tell=lambda _: None,
        taken=lambda trial: warehouse.exists(manifest_file(trial)),
        valid_now=dict,
        schedule=Schedule.of(work, cost_s, widest_first=wide),
        lanes=lanes,
        clock=None,  # type: ignore[arg-type]
        agent=lambda node, *_: SimulatedAgent(node, cluster),  # type: ignore[arg-type,return-value]
        devices=Reservation,  # type: ignore[arg-type]
    )
    begun, cpu_s = time.perf_counter(), time.process_time()
    driver.run()
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s - cluster.cpu_s
    verdicts.close()
    judge.close()
    assert not driver.errors, driver.errors
    assert (progress.valid, progress.invalid, progress.failed) == (cells, 0, 0), progress.snapshot()
    overhead_s = cluster.waits_s / cells
    return Figures(
        overhead_s,
        cpu_s / cells,
        _growth_bytes(memory),
        max(threads),
        cells / wall_s,
    )


def _growth_bytes(memory: list[int]) -> float:
    """Return how much memory grows with each trial, over the second half: all that is loaded once is there by then."""
    middle = len(memory) // 2
    return (memory[-1] - memory[middle]) / (len(memory) - middle)


def main() -> int:
    """Measure and print; return 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 50, 1000])
    parser.add_argument("--isolation", nargs="+", default=["node", "gpu"])
    parser.add_argument("--run", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=40, help="trials that end in a second, at most")
    options = parser.parse_args()
    good = True
    print(f"{options.cells} cells of 10 to 300 s, 3 repeats, at most {1e3 * OVERHEAD_S:g} ms of overhead a trial")
    print("nodes x 8 GPUs, isolation   engines   starts    planned in   CPU/group     busy")
    for isolation in options.isolation:
        for number in options.nodes:
            good &= play(options.cells, number, isolation)
    print(f"{options.run} trials run")
    print("nodes x 8 GPUs, isolation   overhead   driver CPU    memory   threads   trials/s", flush=True)
    for isolation in options.isolation:
        for number in options.nodes:
            folder = tempfile.mkdtemp(prefix="joulemark-scheduling-")
            try:
                f = run(options.run, number, isolation, options.rate, folder)
            finally:
                shutil.rmtree(folder)
            missed = f.overhead_s > OVERHEAD_S
            good &= not missed
            print(
                f"{number:14} {isolation:>12} {1e3 * f.overhead_s:8.1f} ms {1e3 * f.cpu_s:9.1f} ms "
                f"{f.memory_bytes / 1024:6.1f} KiB {f.threads:9} {f.trials_per_s:10.0f}"
                f"{'  MISSED' if missed else ''}",
                flush=True,
            )
    print(f"limits: overhead {1e3 * OVERHEAD_S:g} ms, busy {BUSY:.0%} of the bound for any schedule")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
