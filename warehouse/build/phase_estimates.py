"""Rows of `phase_estimates`: the regression of `phase_regression` over each trial's window.

A prompt is worked on from when its request is sent until its first token comes, evenly; how long it waits before that
is not known. Bins are therefore longer than that takes, and longer than the meter's steps. Energy while no request is
active belongs to neither phase.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.phase_regression import phase_costs
from joulemark.warehouse.build.request_energy import active_requests, cumulative_j, window_edges
from joulemark.warehouse.build.trial_windows import Instants, TrialWindow

Floats = NDArray[np.float64]

GRID_US = 100_000
"""Bins are a whole number of these long."""
TTFTS, STEPS = 2, 5
"""A bin is at least as long as so many median times to the first token, and as so many steps of the meter."""

ANSWERS = f"""
WITH windows AS (
  SELECT unnest($trials) AS trial, unnest($starts) AS start_us, unnest($ends) AS end_us
)
SELECT
  k.trial,
  (epoch_us(k.t) - w.start_us) // {GRID_US} AS place,
  -- The first token comes out of the prompt's own pass.
  sum(k.tokens - (k.chunk = 1)::INTEGER) AS tokens
FROM tokens AS k
JOIN windows AS w ON w.trial = k.trial
WHERE epoch_us(k.t) >= w.start_us AND epoch_us(k.t) < w.end_us
GROUP BY ALL
"""  # noqa: S608 -- a number of ours


def phase_rows(connection: duckdb.DuckDBPyConnection, trials: list[TrialWindow]) -> list[dict[str, Any]]:
    """Return one row per trial."""
    if not trials:
        return []
    windows = {
        "trials": [t.trial for t in trials],
        "starts": [t.energy.window.start_us for t in trials],
        "ends": [t.energy.window.end_us for t in trials],
    }
    answers: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for name, place, tokens in connection.execute(ANSWERS, windows).fetchall():
        answers[name].append((place, tokens))
    return [_row(trial, answers[trial.trial]) for trial in trials]


def _row(trial: TrialWindow, answers: list[tuple[int, int]]) -> dict[str, Any]:
    grids = bin_grids(trial)
    bins = (trial.energy.window.end_us - trial.energy.window.start_us) // (grids * GRID_US)
    edges_us = trial.energy.window.start_us + np.arange(bins + 1, dtype=np.int64) * grids * GRID_US
    answer_tokens = np.zeros(bins)
    for place, tokens in answers:
        if place // grids < bins:
            answer_tokens[place // grids] += tokens
    found = phase_costs(_active_j(trial, edges_us), _prompt_tokens(trial, edges_us), answer_tokens)
    row = {"trial": trial.trial, "boundary": trial.energy.boundary, "bins": int(bins), "bin_s": grids * GRID_US / 1e6}
    names = ("prefill_j_per_token", "prefill_half_j", "decode_j_per_token", "decode_half_j", "reason")
    if isinstance(found, str):
        return row | dict.fromkeys(names) | {"reason": found}
    figures = (found.prefill_j, found.prefill_half_j, found.decode_j, found.decode_half_j, None)
    return row | dict(zip(names, figures, strict=True))


def bin_grids(trial: TrialWindow) -> int:
    """Return how many ``GRID_US`` a bin is long."""
    first_us, sent_us = trial.instants("first_token_at"), trial.instants("sent_at")
    answered = first_us > 0
    ttft_us = float(np.median((first_us - sent_us)[answered])) if answered.any() else 0.0
    steps_us = [float(np.median(np.diff(c.t_us))) for c, _ in trial.energy.curves if len(c.t_us) > 1]
    return max(1, math.ceil(max(TTFTS * ttft_us, STEPS * max(steps_us, default=0.0)) / GRID_US))


def _active_j(trial: TrialWindow, edges_us: Instants) -> Floats:
    """Return the energy of each bin while some request was active."""
    changes_us, sent_us, done_us = window_edges(
        trial.energy.window, trial.instants("sent_at"), trial.instants("done_at")
    )
    all_us = np.unique(np.concatenate((changes_us, edges_us)))
    pieces_j = np.diff(cumulative_j(trial.energy.curves, all_us, trial.energy.window))
    first, last = np.searchsorted(all_us, sent_us), np.searchsorted(all_us, done_us)
    pieces_j[active_requests(len(all_us), first, last) == 0] = 0.0
    total_j = np.concatenate(([0.0], np.cumsum(pieces_j)))
    return np.diff(total_j[np.searchsorted(all_us, edges_us)])


def _prompt_tokens(trial: TrialWindow, edges_us: Instants) -> Floats:
    """Return the prompt tokens of each bin, spread evenly from sending to the first token."""
    first_us, sent_us = trial.instants("first_token_at"), trial.instants("sent_at")
    tokens = np.asarray(trial.requests["computed_tokens"].to_numpy(), dtype=np.float64)
    whole = (first_us > sent_us) & (tokens > 0)
    sent_us, first_us, tokens = sent_us[whole], first_us[whole], tokens[whole]
    # Cumulative tokens are linear between all these instants, with the summed rates of the prompts in work.
    at_us = np.concatenate((sent_us, first_us))
    rates = tokens / (first_us - sent_us)
    order = np.argsort(at_us, kind="stable")
    at_us, change = at_us[order], np.concatenate((rates, -rates))[order]
    if not len(at_us):
        return np.zeros(len(edges_us) - 1)
    done = np.concatenate(([0.0], np.cumsum(np.cumsum(change)[:-1] * np.diff(at_us))))
    return np.diff(np.interp(edges_us, at_us, done))
