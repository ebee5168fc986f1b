"""Energy of ten million requests over 288 million power samples, beside only reading the columns, and beside joins.

Each part runs in a process of its own, on the same files: CPU time and peak memory are that process's. Shares are
built by the build step itself, in two steps, as if half of the trials had come later. What takes minutes goes on where
it was broken off: the data, and the figures that the shares rest on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from size_data import FIRST_S, GPUS, HOUR_US, LAST_S, SAMPLES, START_US, WINDOW, Gpu, S, fill, some
from size_rivals import Places, duckdb_asof, places_of, polars_asof

from joulemark.warehouse.build.build import build, spans
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.query.groups import ENERGY, FIGURES, SHARES
from joulemark.warehouse.query.open import open_snapshot
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.location import Warehouse

SHARES_LIMIT, INSTANTS_LIMIT, RIVALS_LIMIT = 2.5, 2.0, 10.0
MEMORY_LIMIT_MIB = 1536
LINEAR_LIMIT = 1.25
"""How much more the second half of the trials may cost than the first."""
OFF_LIMIT_J = 0.01
CHECKED = 24
BUILT_SHARES = ("built/batches/request_energy", "built/request_energy")


@dataclass(frozen=True)
class Cost:
    """What a part took, and what else it tells."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    told: dict[str, float]


def floor(warehouse: Warehouse, _: Places) -> dict[str, float]:
    """Read the columns that shares need, and nothing else."""
    for name in warehouse.list("power", ".parquet"):
        pq.read_table(warehouse.path(name), columns=["device", "t", "energy_uj"], read_dictionary=["device"])
    for name in warehouse.list("requests", ".parquet"):
        columns = ["trial", "request", "sent_at", "last_token_at"]
        pq.read_table(warehouse.path(name), columns=columns, read_dictionary=["trial"])
    return {}


def shares(warehouse: Warehouse, places: Places) -> dict[str, float]:
    """Build all shares anew: those of half of the nodes, then the rest."""
    drop_shares(warehouse)
    in_order = sorted(places, key=places.__getitem__)
    half = set(in_order[: len(in_order) // 2])
    begin = time.process_time()
    first = build(warehouse, only=half, groups=(SHARES,)).shares
    middle = time.process_time()
    before = {e.name: (e.size, e.mtime_ns) for e in warehouse.entries("built/request_energy")}
    second = build(warehouse, groups=(SHARES,)).shares
    end = time.process_time()
    after = {e.name: (e.size, e.mtime_ns) for e in warehouse.entries("built/request_energy")}
    touched = sum(after.get(name) != facts for name, facts in before.items())
    return {"trials": first + second, "second_to_first": (end - middle) / (middle - begin), "touched": touched}


def instants(warehouse: Warehouse, places: Places) -> dict[str, float]:
    """Return the energy at three instants of each request, by the curves that shares are made of."""
    snapshot = take(warehouse)
    reader = PowerReader(warehouse, snapshot.files["power"], spans(snapshot, "power"))
    low, high = START_US + FIRST_S * S, START_US + LAST_S * S
    energies = []
    for name in warehouse.list("requests", ".parquet"):
        columns = ["trial", "sent_at", "first_token_at", "last_token_at"]
        table = pq.read_table(warehouse.path(name), columns=columns, read_dictionary=["trial"]).combine_chunks()
        words = table["trial"].chunk(0)
        place = words.indices.to_numpy()
        cuts = np.flatnonzero(np.diff(place)) + 1
        at_us = [table[c].to_numpy().astype(np.int64) for c in columns[1:]]
        edges = zip([0, *cuts], [*cuts, len(place)], strict=True)
        # In the order of nodes, whose segments are then decoded once.
        pieces = sorted((places[words.dictionary[int(place[b])].as_py()], slice(b, e)) for b, e in edges)
        for (node, device), piece in pieces:
            (series,) = reader.read(node, low, high, devices=(device,), values=("energy_uj",))
            curve = series.curve("counter", low, high)
            energies += [curve.at_j(column[piece]) for column in at_us]
    return {"instants": sum(map(len, energies))}


def truth(warehouse: Warehouse, places: Places) -> dict[str, float]:
    """Return how far shares are from the closed form, for some trials, and their sums from their windows."""
    off = sums = 0.0
    with open_snapshot(take(warehouse)) as connection:
        for gpu in some(len(places) // GPUS, CHECKED):
            found = connection.sql(f"from request_energy where trial = '{gpu.trial}'").to_pylist()
            wanted, whole = true_shares(gpu)
            got = {row["request"]: row["energy_j"] for row in found}
            off = max(off, *(abs(got.get(i, 0.0) - share) for i, share in enumerate(wanted)))
            sums = max(sums, abs(sum(got.values()) - whole))
    return {"off_j": off, "sums_off_j": sums}


def true_shares(gpu: Gpu) -> tuple[list[float], float]:
    """Return each request's share and the window's energy from the closed form, piece by piece of the window."""
    sent, _, done = (np.clip(at, WINDOW.start_us, WINDOW.end_us) for at in gpu.spans())
    edges = np.array(sorted({*sent.tolist(), *done.tolist(), WINDOW.start_us, WINDOW.end_us}))
    energy_j = gpu.energy_j(edges)
    out = np.zeros(len(sent))
    for begin, end, piece_j in zip(edges[:-1], edges[1:], np.diff(energy_j), strict=True):
        active = (sent <= begin) & (done >= end)
        out[active] += piece_j / max(1, active.sum())
    return out.tolist(), float(energy_j[-1] - energy_j[0])


PARTS: dict[str, Callable[[Warehouse, Places], dict[str, float]]] = {
    "floor": floor,
    "shares": shares,
    "instants": instants,
    "truth": truth,
    "DuckDB ASOF": duckdb_asof,
    "polars join_asof": polars_asof,
}


def drop_shares(warehouse: Warehouse) -> None:
    """Delete the shares that are there."""
    for folder in BUILT_SHARES:
        for name in warehouse.list(folder):
            warehouse.delete(name)


def run_part(name: str, place: str, nodes: int) -> Cost:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--folder", place, "--nodes", str(nodes), "--part", name]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(**json.loads(text))


def measured(part: Callable[[Warehouse, Places], dict[str, float]], warehouse: Warehouse, nodes: int) -> Cost:
    """Run a part here."""
    names = {Gpu(n * GPUS).node for n in range(nodes)}
    places = {trial: place for trial, place in places_of(warehouse).items() if place[0] in names}
    # What is loaded at first use is loaded before.
    pq.read_table(warehouse.path(warehouse.list("requests", ".parquet")[0]), columns=["request"])
    cpu, wall = time.process_time(), time.perf_counter()
    told = part(warehouse, places)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu, wall, peak_mib(), told)


def peak_mib() -> float:
    """Return the most memory that this process has had; the kernel's `ru_maxrss` would hold the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


class Report:
    """Prints figures with their limits, and keeps whether all were held."""

    def __init__(self) -> None:
        """Begin with nothing missed."""
        self.good = True

    def cost(self, name: str, cost: Cost, scale: float = 1.0) -> None:
        """Print what a part took."""
        scaled = "" if scale == 1 else f"  (measured on 1/{scale:.0f} of the nodes, times {scale:.0f})"
        seconds = f"{cost.cpu_s * scale:8.2f} CPU-s {cost.wall_s * scale:8.2f} s"
        print(f"{name:34} {seconds} {cost.peak_mib:7.0f} MiB{scaled}", flush=True)

    def limit(self, name: str, value: float, limit: float, unit: str = "", *, at_least: bool = False) -> None:
        """Print a figure with its limit."""
        held = value >= limit if at_least else value <= limit
        self.good &= held
        side = "at least" if at_least else "at most"
        print(f"{name:56} {value:10.4g}{unit}  {side} {limit:g}{unit}{'' if held else '  MISSED'}", flush=True)


def compare(place: str, nodes: int, rival_nodes: int) -> bool:
    """Measure every part on the same files, and print the ratios of CPU time."""
    report = Report()
    best = min((run_part("floor", place, nodes) for _ in range(2)), key=lambda c: c.cpu_s)
    report.cost("only reading the columns", best)
    found = {name: run_part(name, place, nodes) for name in ("shares", "instants")}
    report.cost("shares of all requests, built", found["shares"])
    report.cost("three instants of each request", found["instants"])
    told = found["shares"].told
    report.limit("shares over reading", found["shares"].cpu_s / best.cpu_s, SHARES_LIMIT)
    report.limit("instants over reading", found["instants"].cpu_s / best.cpu_s, INSTANTS_LIMIT)
    report.limit("peak memory", max(c.peak_mib for c in found.values()), MEMORY_LIMIT_MIB, " MiB")
    report.limit("second half of the trials over the first", told["second_to_first"], LINEAR_LIMIT)
    report.limit("files of the first half that the second touched", told["touched"], 0)
    off = run_part("truth", place, nodes).told
    report.limit(f"largest error of a share, {CHECKED} trials", off["off_j"], OFF_LIMIT_J, " J")
    report.limit("largest difference of a sum from its window", off["sums_off_j"], OFF_LIMIT_J, " J")
    for name in ("DuckDB ASOF", "polars join_asof"):
        rival = run_part(name, place, rival_nodes)
        scale = nodes / rival_nodes
        report.cost(name, rival, scale)
        report.limit(
            f"{name} over instants", rival.cpu_s * scale / found["instants"].cpu_s, RIVALS_LIMIT, at_least=True
        )
    return report.good


def main() -> int:
    """Measure and print; return 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.path.join(tempfile.gettempdir(), "joulemark-size")
    parser.add_argument("--folder", default=default, help="where the warehouse is made, 2.1 GB; it stays")
    parser.add_argument("--nodes", type=int, default=1000, help="nodes of 8 GPUs and 288,000 samples")
    parser.add_argument("--rival-nodes", type=int, help="nodes that the joins are measured on (default: all)")
    parser.add_argument("--only-prepare", action="store_true", help="make data and figures, and measure nothing")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warehouse = Warehouse.at(options.folder)
    if options.part:
        print(json.dumps(asdict(measured(PARTS[options.part], warehouse, options.nodes))))
        return 0
    fill(options.folder, options.nodes)
    begin = time.perf_counter()
    report = build(warehouse, groups=(ENERGY, FIGURES))
    requests = sum(pq.read_metadata(p).num_rows for p in Path(options.folder, "requests").glob("*.parquet"))
    print(f"{options.nodes * GPUS * SAMPLES / 1e6:.1f} M samples, {requests / 1e6:.2f} M requests, ", end="")
    print(f"{len(report.snapshot.trials)} trials of {HOUR_US / S / 3600:g} h; {len(report.warnings)} warnings")
    print(f"what shares rest on (energies of {report.energies} trials, figures): ", end="")
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    if options.only_prepare:
        return 0
    return 0 if compare(options.folder, options.nodes, options.rival_nodes or options.nodes) else 1


if __name__ == "__main__":
    sys.exit(main())
