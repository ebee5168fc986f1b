"""Whether 95 % intervals cover the truth in 95 % of sweeps, and rank ranges err in no more than 5 % of them.

``python benchmarks/interval_coverage.py`` simulates sweeps whose truth is known: six cells, three of them equal, with
repeats, engine starts and nodes, and effects of each as the design says. Cells of a sweep run on the same nodes and
share what these do to them, or each on nodes of its own. Every figure has its limit beside it; ends with 1 where one is
missed. About a minute. At the end single windows, whose power and token rate remember more or less of the past.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from joulemark.warehouse.build.statistics import FAMILY_ERROR, Mean, compare_means, mean_of_logs, rank_ranges
from joulemark.warehouse.build.window_variation import FINEST, variation

COVER = (0.93, 0.97)
TRUTHS = np.log([0.10, 0.10, 0.10, 0.12, 0.15, 0.20])
TRIAL_SPREAD = 0.02


@dataclass(frozen=True)
class Design:
    """Numbers of nodes, of starts on each and of repeats in each, and the standard deviations of their effects."""

    nodes: int
    starts: int
    repeats: int
    node_spread: float = 0.0
    start_spread: float = 0.0
    shared: bool = True
    """Whether all cells run on the same nodes."""

    def __str__(self) -> str:
        """Return it in words."""
        where = "" if self.nodes == 1 else " shared" if self.shared else " own"
        return (
            f"{self.nodes}{where} nodes ({self.node_spread:.0%}) x {self.starts} starts ({self.start_spread:.0%}) "
            f"x {self.repeats} repeats"
        )


DESIGNS = (
    *(Design(1, 1, repeats) for repeats in (3, 5, 10)),
    *(Design(1, 3, repeats, start_spread=0.03) for repeats in (3, 10)),
    Design(1, 5, 3),
    Design(3, 1, 3, node_spread=0.05),
    Design(3, 3, 3, node_spread=0.05, start_spread=0.03),
    Design(4, 3, 5, node_spread=0.05, start_spread=0.03),
    Design(4, 2, 3),
    Design(4, 2, 3, node_spread=0.05, start_spread=0.03, shared=False),
)


def sweep(design: Design, random: np.random.Generator) -> list[Mean]:
    """Return the means of all cells of one sweep."""
    common = random.normal(0, design.node_spread, design.nodes)
    means = []
    for number, truth in enumerate(TRUTHS):
        on = common if design.shared else random.normal(0, design.node_spread, design.nodes)
        started = on[:, None] + random.normal(0, design.start_spread, (design.nodes, design.starts))
        logs = truth + started[:, :, None] + random.normal(0, TRIAL_SPREAD, (*started.shape, design.repeats))
        node, start, _ = np.indices(logs.shape)
        names = [(0 if design.shared else number, n) for n in node.ravel().tolist()]
        means.append(mean_of_logs(np.exp(logs).ravel().tolist(), start.ravel().tolist(), names))
    return means


def false_claim(means: list[Mean]) -> bool:
    """Return whether some rank range leaves out a rank that the cell may truly have."""
    truths = np.round(TRUTHS, 9)
    for truth, (best, worst) in zip(truths, rank_ranges(means), strict=True):
        lower, equal = int((truths < truth).sum()), int((truths == truth).sum())
        if best > lower + 1 or worst < lower + equal:
            return True
    return False


def tried(design: Design, sweeps: int, seed: int) -> tuple[float, float, float]:
    """Return the shares of intervals and of ratio intervals that hold the truth, and of sweeps with a false claim."""
    random = np.random.default_rng(seed)
    held = ratios = wrong = 0
    for _ in range(sweeps):
        means = sweep(design, random)
        low, high = means[0].interval or (np.inf, np.inf)
        held += low <= np.exp(TRUTHS[0]) <= high
        low, high = compare_means(means[4], means[0]).interval or (np.inf, np.inf)
        ratios += low <= np.exp(TRUTHS[4] - TRUTHS[0]) <= high
        wrong += false_claim(means)
    return held / sweeps, ratios / sweeps, wrong / sweeps


MEMORIES = (0, 1, 2, 4)
"""How long power and token rate remember, in 64ths of the window."""
POINTS = 10
"""Points of a simulated window in each block."""


def remembering(random: np.random.Generator, memory: int) -> NDArray[np.float64]:
    """Return noise of one window, of mean 0 and variance 1."""
    rho = np.exp(-1 / (memory * POINTS)) if memory else 0.0
    noise = random.normal(size=(FINEST + 64) * POINTS)
    return np.asarray(lfilter([np.sqrt(1 - rho**2)], [1, -rho], noise))[64 * POINTS :]


def window_held(memory: int, windows: int, seed: int) -> float:
    """Return the share of windows whose stated error holds the true J per token, 0.6."""
    random = np.random.default_rng(seed)
    held = 0
    for _ in range(windows):
        tokens = 100 * (1 + 0.1 * remembering(random, memory))
        energy_j = 0.2 * tokens * (1 + 0.05 * remembering(random, memory)) + 40 * (1 + 0.02 * remembering(random, 0))
        energy_j, tokens = (v.reshape(FINEST, POINTS).sum(axis=1) for v in (energy_j, tokens))
        found = variation(energy_j, tokens)
        held += found is not None and abs(energy_j.sum() / tokens.sum() / 0.6 - 1) <= found.error
    return held / windows


def main() -> None:
    """Try all designs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    error = 3 * (FAMILY_ERROR * (1 - FAMILY_ERROR) / asked.sweeps) ** 0.5
    print(f"{'design':<58} {'interval':>9} {'ratio':>9} {'false rank':>11}   {asked.sweeps} sweeps each")
    print(f"{'limit':<58} {'93..97 %':>9} {'93..99 %':>9} {f'5 % + {error:.1%}':>11}")
    missed = False
    for number, design in enumerate(DESIGNS):
        held, ratio, wrong = tried(design, asked.sweeps, asked.seed + number)
        well = COVER[0] <= held <= COVER[1] and COVER[0] <= ratio <= 0.99 and wrong <= FAMILY_ERROR + error
        missed |= not well
        print(f"{design!s:<58} {held:>9.1%} {ratio:>9.1%} {wrong:>11.1%}{'' if well else '   MISSED'}", flush=True)
    for memory in MEMORIES:
        held = window_held(memory, asked.sweeps, asked.seed)
        well = COVER[0] <= held <= COVER[1]
        missed |= not well
        name = f"one window that remembers {memory}/{FINEST} of itself"
        print(f"{name:<58} {held:>9.1%}{'' if well else '   MISSED'}", flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main()
