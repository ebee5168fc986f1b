"""Whether the work outstanding in an open loop stayed the same over the window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from joulemark.agents.client.merge import Whole, overlap_us

BLOCKS = 12
"""The window is made for 12 median durations, so that neighbouring blocks have few requests in common."""
SIGNIFICANT_T = 4.0
RELEVANT_SHARE = 0.25


def growth(scheduled_us: Whole, ended_us: Whole, start_us: int, end_us: int) -> tuple[float, bool]:
    """Return (how many requests more were outstanding at the window's end than at its begin, whether that is growth).

    Outstanding is what is due and has not ended, whether or not it was sent: a queue in the engine and one in the
    client are both backlog. Its means over 12 equal blocks are fitted by a straight line, of which the first figure is
    the rise over the window. It counts where it is over 4 standard errors of the slope (10 degrees of freedom), at
    least one request, 25 % of the mean, and the square root of the requests that became due, which is what chance
    brings to a queue. In simulated queues with 8 servers and windows of 60 service times this is said of 1 % of the
    windows at 90 % of what the servers can do, of half at 105 %, and of all at 125 %.
    """
    edges = np.linspace(start_us, end_us, BLOCKS + 1).astype(np.int64)
    means = np.array(
        [overlap_us(scheduled_us, ended_us, int(a), int(b)) / max(1, int(b - a)) for a, b in pairwise(edges)]
    )
    x = np.arange(BLOCKS) - (BLOCKS - 1) / 2
    slope = float(x @ means) / float(x @ x)
    residual = means - means.mean() - slope * x
    error = float(np.sqrt(residual @ residual / (BLOCKS - 2) / (x @ x)))
    rise = slope * BLOCKS
    due = int(((scheduled_us >= start_us) & (scheduled_us < end_us)).sum())
    relevant = max(1.0, RELEVANT_SHARE * float(means.mean()), float(np.sqrt(due)))
    grows = slope > SIGNIFICANT_T * error and rise >= relevant
    return rise, grows
