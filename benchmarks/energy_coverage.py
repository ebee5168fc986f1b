"""How often the stated 95 % uncertainty covers the truth, and how wide it is, over random gains, phases and loads.

    python benchmarks/energy_coverage.py [--draws 1000]

Gain and offset are drawn anywhere within the bounds that joulemark states for a GPU's sensor (5 %, 5 W). For each load,
length and method: the share of draws covered without them (sensor perfect, `uncertainty_j` alone) and with them, and
the median stated half width over the half width that would have covered exactly 95 % of these draws.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from simulated import draw

from joulemark.warehouse.build.gain import GPU_SENSOR, with_gain_j
from joulemark.warehouse.verify.loads import LOADS

LENGTHS_S = (1, 5, 10, 30, 60)
METHODS = ("counter", "integral", "integral of 1 s means")


@dataclass(frozen=True)
class Coverage:
    """Of one load, length and method: ``errors`` and ``stated`` as shares of the true energy, one per draw."""

    errors: np.ndarray
    stated: np.ndarray

    @property
    def covered(self) -> float:
        """Share of the draws in which the truth lies within what was stated."""
        return float((np.abs(self.errors) <= self.stated).mean())

    @property
    def width(self) -> float:
        """Median stated half width over the one that covers 95 % of the draws."""
        return float(np.median(self.stated) / np.quantile(np.abs(self.errors), 0.95))


def coverage(kind: str, seconds: float, draws: int) -> dict[tuple[str, bool], Coverage]:
    """Return the coverage by method, with and without gain and offset."""
    random = np.random.default_rng([draws, int(seconds), *kind.encode()])
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {(m, g): [] for m in METHODS for g in (False, True)}
    for number in range(draws):
        one = draw(kind, seconds, number)
        gain = random.uniform(-GPU_SENSOR.gain_fraction, GPU_SENSOR.gain_fraction)
        offset_j = random.uniform(-GPU_SENSOR.offset_w, GPU_SENSOR.offset_w) * one.seconds
        for method, estimate in one.estimates().items():
            energy_j, uncertainty_j = estimate.energy_j, estimate.uncertainty_j
            assert energy_j is not None
            assert uncertainty_j is not None
            found[method, False].append(((energy_j - one.true_j) / one.true_j, uncertainty_j / one.true_j))
            # Gain and offset are linear, so the sensor need not be played again.
            shown_j, shown_u_j = energy_j * (1 + gain) + offset_j, uncertainty_j * (1 + gain)
            whole_j = with_gain_j(shown_j, one.seconds, shown_u_j, GPU_SENSOR)
            found[method, True].append(((shown_j - one.true_j) / one.true_j, whole_j / one.true_j))
    return {key: Coverage(*np.array(rows).T) for key, rows in found.items()}


def pooled(parts: list[Coverage]) -> Coverage:
    """Return all draws together; widths are then relative to each draw's own scale, so only ``covered`` is of use."""
    return Coverage(np.concatenate([p.errors for p in parts]), np.concatenate([p.stated for p in parts]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="draws per load and length")
    draws = parser.parse_args().draws
    print(
        f"{'load':8} {'window':>6}  {'method':22} {'rms error':>9}  {'sensor perfect':>16}  {'with gain, offset':>18}"
    )
    print(f"{'':8} {'':>6}  {'':22} {'':>9}  {'covered':>8} {'width':>7}  {'covered':>9} {'width':>8}")
    every: dict[tuple[str, bool], list[Coverage]] = {}
    for kind in LOADS:
        for seconds in LENGTHS_S:
            found = coverage(kind, seconds, draws)
            for method in METHODS:
                plain, whole = found[method, False], found[method, True]
                rms = float(np.sqrt((plain.errors**2).mean()))
                print(
                    f"{kind:8} {seconds:>4} s  {method:22} {rms:>9.3%}  {plain.covered:>8.1%} {plain.width:>7.2f}  "
                    f"{whole.covered:>9.1%} {whole.width:>8.2f}"
                )
            for key, part in found.items():
                every.setdefault(key, []).append(part)
    for method in METHODS:
        plain, whole = pooled(every[method, False]), pooled(every[method, True])
        print(
            f"all draws       {method:22} {'':>9}  {plain.covered:>8.1%} {'':>7}  {whole.covered:>9.1%}"
            "   (to be 93 % to 97.5 %)"
        )


if __name__ == "__main__":
    main()
