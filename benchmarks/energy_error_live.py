"""Energy error of joulemark's sampler, real zeus and one nvidia-smi reading a second, side by side in one run.

    python3 -m venv zeus-environment && zeus-environment/bin/pip install zeus
    python benchmarks/energy_error_live.py --zeus zeus-environment/bin/python [--seconds 240]

All three read the same double of NVML under tests/ (which a C compiler builds) at the same time, unmodified: boards
with a steady, a bursty and a phase-switching load whose energy is known, sensors of 100 ms steps that see 25 ms, at
gain 1. zeus begins and ends windows of 1 to 60 s; the energy of each is asked of all three, between the instants at
which zeus read. Prints the root mean square of the relative error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import starmap
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "nvml_double"))
os.environ.setdefault("JOULEMARK_HOME", tempfile.mkdtemp())
from nvml_double import Device, Double, build
from truth import Trace

from joulemark.agents.clock import NodeClock
from joulemark.agents.sampler.process import SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.agents.spool.segment import read_segment
from joulemark.warehouse.build.energy import counter_energy, power_integral
from joulemark.warehouse.build.trial_energy import choice
from joulemark.warehouse.units import MW_PER_W, US_PER_S
from joulemark.warehouse.verify.loads import LOADS

LENGTHS_S = (1, 5, 10, 30, 60)
MARGIN_S = 8.0
NAMES = ("joulemark", "zeus", "1 Hz nvidia-smi")


def world(folder: Path, seconds: float) -> tuple[Device, ...]:
    """Return one board per kind of load, each with other phases of its sensors."""
    boards = []
    for number, (kind, make) in enumerate(LOADS.items()):
        random = np.random.default_rng([7, number])
        load = make(random, 0, int((seconds + 60) * US_PER_S))
        path = folder / f"{kind}.csv"
        # Two points at one instant make a step: a microsecond apart here.
        t_ms = (load.t_us + np.concatenate(([0], np.diff(load.t_us) == 0))) / 1e3
        path.write_text(
            "t_ms,power_w\n"
            + "".join(starmap("{!r},{!r}\n".format, zip(t_ms.tolist(), load.power_w.tolist(), strict=True)))
        )
        step_ms, refresh_ms = (100.0, random.uniform(0, 100)), (100.0, random.uniform(0, 100))
        boards.append(Device(Trace(path), step_ms=step_ms, refresh_ms=refresh_ms))
    return tuple(boards)


def windows(seconds: float) -> list[tuple[float, str, str]]:
    """Return what zeus shall do when: windows of all lengths at random instants, many at a time."""
    random = np.random.default_rng(11)
    plan = []
    for length_s in LENGTHS_S:
        for number in range(max(6, int(60 / length_s))):
            length = length_s + random.uniform(-0.05, 0.05)
            start_s = random.uniform(MARGIN_S, seconds - MARGIN_S - length)
            name = f"{length_s}/{number}"
            plan += [(start_s, "begin", name), (start_s + length, "end", name)]
    return sorted(plan)


def start(python: str, order: dict[str, object], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start one of the others, give it its order, and wait until it is ready to begin."""
    child = subprocess.Popen(
        [python, str(Path(__file__).with_name("beside.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip
    assert child.stdin is not None
    child.stdin.write(json.dumps(order) + "\n")
    child.stdin.flush()
    assert child.stdout is not None
    child.stdout.readline()
    return child


def ours_j(power: pa.Table, device: str, edges_us: tuple[int, int]) -> float:
    """Return the figure that joulemark chooses from what its sampler recorded."""
    mine = power.filter(pc.and_(pc.equal(power["device"], device), pc.equal(power["scope"], "gpu_board")))
    t_us = mine["t"].cast(pa.int64()).to_numpy()
    there = {c: mine[c].is_valid().to_numpy() for c in ("energy_uj", "power_mw")}
    read = {c: mine[c].fill_null(0).to_numpy()[there[c]].astype(np.int64) for c in there}
    estimates = {
        "counter": counter_energy(t_us[there["energy_uj"]], read["energy_uj"], *edges_us),
        "integral": power_integral(t_us[there["power_mw"]], read["power_mw"], *edges_us),
    }
    energy_j = estimates[choice(estimates)].energy_j
    assert energy_j is not None, estimates
    return energy_j


def run(zeus_python: str, seconds: float) -> dict[tuple[str, int], list[tuple[float, ...]]]:
    """Return the relative errors of all three by load and length."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        double = Double(folder, build(folder), world(folder, seconds))
        with mock.patch.dict(os.environ, double.environment):
            sampler = SamplerProcess(SamplerConfig("node", place, 0.1))
            sampler.start()
        others = (
            start(zeus_python, {"what": "zeus", "plan": windows(seconds)}, double.environment),
            start(sys.executable, {"what": "smi", "seconds": seconds}, double.environment),
        )
        begin = f"{time.monotonic_ns() + 1_000_000_000}\n"
        for child in others:
            assert child.stdin is not None
            child.stdin.write(begin)
            child.stdin.flush()
        said = [[json.loads(line) for line in child.communicate()[0].splitlines()] for child in others]
        time.sleep(MARGIN_S / 2)
        tables = [read_segment(s) for s in sampler.rotate() if s.name.startswith("power-")]
        sampler.stop()
        power = pa.concat_tables(tables)
        return _errors(double, power, *said)


def _errors(
    double: Double, power: pa.Table, zeus: list[dict], smi: list[dict]
) -> dict[tuple[str, int], list[tuple[float, ...]]]:
    clock, found = NodeClock.of_this_node(), {}
    began = {w["name"]: w["at_ns"] for w in zeus if w["what"] == "begin"}
    for window in (w for w in zeus if w["what"] == "end"):
        edges_ns = began[window["name"]], window["at_ns"]
        shown = [s["power_mw"] for s in smi if edges_ns[0] <= s["at_ns"] < edges_ns[1]]
        for number, kind in enumerate(LOADS):
            true_j = double.true_energy_j(number, *edges_ns)
            mine_j = ours_j(power, double.uuids[number], tuple(clock.at_us(ns) for ns in edges_ns))
            smi_w = np.mean([mw[number] for mw in shown]) / MW_PER_W if shown else np.nan
            others_j = window["energy_j"][str(number)], smi_w * (edges_ns[1] - edges_ns[0]) / 1e9
            length_s = int(window["name"].split("/")[0])
            found.setdefault((kind, length_s), []).append(tuple(e / true_j - 1 for e in (mine_j, *others_j)))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zeus", required=True, metavar="PYTHON", help="interpreter that has zeus")
    parser.add_argument("--seconds", type=float, default=240.0, help="length of the run")
    options = parser.parse_args()
    found = run(options.zeus, options.seconds)
    print(
        f"{'load':8} {'window':>6} {'number':>6}  " + "  ".join(f"{n:>16}" for n in NAMES) + "   best other / joulemark"
    )
    for (kind, length_s), errors in sorted(found.items(), key=lambda f: (list(LOADS).index(f[0][0]), f[0][1])):
        rms = np.sqrt(np.nanmean(np.square(errors), axis=0))
        print(
            f"{kind:8} {length_s:>4} s {len(errors):>6}  " + "  ".join(f"{r:>16.3%}" for r in rms)
            + f"   {rms[1:].min() / rms[0]:>8.1f} x"
        )  # fmt: skip


if __name__ == "__main__":
    main()
