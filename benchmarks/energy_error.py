"""Energy error of joulemark beside two other ways, on the same simulated sensor readings, at gain 1.

    python benchmarks/energy_error.py [--draws 300]

counter at begin and end   the difference of two reads of the energy counter, one at each edge of the window: what
                           zeus' ZeusMonitor documents and does on GPUs with a counter (replicated here, not run; run
                           for real in energy_error_live.py)
1 Hz power.draw            the mean of one reading a second of the 1 s mean that nvidia-smi shows, times the length
1 Hz instant               the same of instant power

Prints the root mean square of the relative error, and the ratio of the best other one to joulemark's.
"""

from __future__ import annotations

import argparse

import numpy as np
from simulated import Draw, draw

from joulemark.warehouse.build.trial_energy import choice
from joulemark.warehouse.units import MW_PER_W, UJ_PER_J, US_PER_S
from joulemark.warehouse.verify.loads import LOADS
from joulemark.warehouse.verify.signal import Instants

LENGTHS_S = (1, 5, 10, 30, 60)


def ours_j(one: Draw) -> float:
    """Return the figure that joulemark chooses."""
    estimates = {m: e for m, e in one.estimates().items() if m in ("counter", "integral")}
    energy_j = estimates[choice(estimates)].energy_j
    assert energy_j is not None
    return energy_j


def begin_and_end_j(one: Draw) -> float:
    """Return the difference of the counter as it reads at the window's edges."""
    _, energy_uj = one.sensor.read(one.load, _with_edges(one), 0)
    at = _with_edges(one)
    return float(energy_uj[at == one.end_us][0] - energy_uj[at == one.start_us][0]) / UJ_PER_J


def once_a_second_j(one: Draw, shown_mw: Instants) -> float:
    """Return the mean of one reading a second times the length of the window."""
    random = np.random.default_rng(one.start_us)
    at_us = np.arange(one.start_us + random.uniform(0, min(US_PER_S, one.end_us - one.start_us)), one.end_us, US_PER_S)
    readings = shown_mw[np.searchsorted(one.t_us, at_us, side="right") - 1]
    return float(readings.mean()) / MW_PER_W * one.seconds


def _with_edges(one: Draw) -> Instants:
    return np.unique(np.concatenate((one.t_us, [one.start_us, one.end_us])))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=300, help="draws per load and length")
    draws = parser.parse_args().draws
    names = ("joulemark", "counter at begin and end", "1 Hz power.draw", "1 Hz instant")
    print(f"{'load':8} {'window':>6}  " + "  ".join(f"{n:>24}" for n in names) + "   best other / joulemark")
    for kind in LOADS:
        for seconds in LENGTHS_S:
            errors = []
            for number in range(draws):
                one = draw(kind, seconds, number)
                found_j = (
                    ours_j(one),
                    begin_and_end_j(one),
                    once_a_second_j(one, one.mean_mw),
                    once_a_second_j(one, one.power_mw),
                )
                errors.append([(f - one.true_j) / one.true_j for f in found_j])
            rms = np.sqrt((np.array(errors) ** 2).mean(axis=0))
            print(
                f"{kind:8} {seconds:>4} s  "
                + "  ".join(f"{r:>24.3%}" for r in rms)
                + f"   {rms[1:].min() / rms[0]:>8.1f} x"
            )


if __name__ == "__main__":
    main()
