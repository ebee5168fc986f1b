"""Energy of a prompt's and of an answer's token, estimated from how the mix of the two varies inside one window.

The window is cut into bins. Each bin's energy is taken as a sum of two parts, proportional to the prompt tokens that
were worked on in it and to the answer tokens that came in it: least squares without a constant, so that all energy of
the window belongs to one of the two, as it does where each is measured alone. Where the mix hardly varies, the
interval says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

FEWEST_BINS = 30
LARGEST_CONDITION = 1e4
"""Of the matrix of both kinds of tokens, each scaled to 1: beyond it they go in step, and only their sum is known."""


@dataclass(frozen=True)
class PhaseCosts:
    """Joules per token of the prompt and of the answer, with half widths of the 95 % intervals."""

    prefill_j: float
    prefill_half_j: float
    decode_j: float
    decode_half_j: float


def phase_costs(energy_j: Floats, prompt_tokens: Floats, answer_tokens: Floats) -> PhaseCosts | str:
    """Return the estimate over bins, or why there is none: ``few_bins``, ``one_phase`` or ``phases_in_step``."""
    if len(energy_j) < FEWEST_BINS:
        return "few_bins"
    tokens = np.column_stack((prompt_tokens, answer_tokens))
    scale = np.linalg.norm(tokens, axis=0)
    if not scale.all():
        return "one_phase"
    scaled = tokens / scale
    if np.linalg.cond(scaled) > LARGEST_CONDITION:
        return "phases_in_step"
    costs = np.linalg.lstsq(scaled, energy_j, rcond=None)[0]
    spread = np.sqrt(np.diag(_covariance(scaled, energy_j - scaled @ costs)))
    half = spread * stats.t.ppf(0.975, len(energy_j) - 2)
    (prefill_j, decode_j), (prefill_half_j, decode_half_j) = costs / scale, half / scale
    return PhaseCosts(float(prefill_j), float(prefill_half_j), float(decode_j), float(decode_half_j))


def _covariance(tokens: Floats, errors: Floats) -> Floats:
    """Return the covariance of the costs after Newey and West: errors may differ in size, and go on from bin to bin."""
    bins = len(errors)
    lags = int(4 * (bins / 100) ** (2 / 9))
    scores = tokens * errors[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        crossed = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (crossed + crossed.T)
    outer = np.linalg.inv(tokens.T @ tokens)
    covariance: Floats = outer @ middle @ outer * bins / (bins - 2)
    return covariance
