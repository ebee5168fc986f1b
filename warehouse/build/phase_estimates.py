"""Rows of `phase_estimates`: the regression of `phase_regression` over each trial's window.

A prompt is worked on from when its request is sent until its first token comes, evenly; how long it waits before that
is not known. Bins are therefore longer than that takes, and longer than the meter's steps. Energy while no request is
active belongs to neither phase.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from joulemark.warehouse.build.phase_regression import phase_costs
from joulemark.warehouse.build.request_energy import Activity, active_requests, cumulative_j
from joulemark.warehouse.build.token_bins import answer_tokens
from joulemark.warehouse.build.trial_windows import Instants, TrialWindow

Floats = NDArray[np.float64]

GRID_US = 100_000
"""Bins are a whole number of these long."""
TTFTS, STEPS = 2, 5
"""A bin is at least as long as so many median times to the first token, and as so many steps of the meter."""

AT_ONCE = 20
"""Trials whose tokens are in memory at a time."""

ANSWERS = """
SELECT trial, sent_at, chunk_dt_us, chunk_tokens
FROM requests
WHERE list_contains($trials, trial)
"""


def phase_rows(connection: duckdb.DuckDBPyConnection, trials: list[TrialWindow]) -> Iterator[dict[str, Any]]:
    """Yield one row per trial."""
    for i in range(0, len(trials), AT_ONCE):
        some = trials[i : i + AT_ONCE]
        answers = connection.sql(ANSWERS, params={"trials": [t.trial for t in some]}).to_arrow_table()
        for trial in some:
            yield _row(trial, answers.filter(pc.equal(answers["trial"], trial.trial)))


def _row(trial: TrialWindow, answers: pa.Table) -> dict[str, Any]:
    bin_us = bin_length_us(trial)
    counts = answer_tokens(answers, trial.energy.window, bin_us)
    edges_us = trial.energy.window.start_us + np.arange(len(counts) + 1, dtype=np.int64) * bin_us
    found = phase_costs(_active_j(trial, edges_us), _prompt_tokens(trial, edges_us), counts)
    row = {"trial": trial.trial, "boundary": trial.energy.boundary, "bins": len(counts), "bin_s": bin_us / 1e6}
    names = ("prefill_j_per_token", "prefill_half_j", "decode_j_per_token", "decode_half_j", "reason")
    if isinstance(found, str):
        return row | dict.fromkeys(names) | {"reason": found}
    figures = (found.prefill_j, found.prefill_half_j, found.decode_j, found.decode_half_j, None)
    return row | dict(zip(names, figures, strict=True))


def bin_length_us(trial: TrialWindow) -> int:
    """Return how long a bin is in microseconds."""
    first_us, sent_us = trial.instants("first_token_at"), trial.instants("sent_at")
    answered = first_us > 0
    ttft_us = float(np.median((first_us - sent_us)[answered])) if answered.any() else 0.0
    steps_us = [float(np.median(np.diff(c.t_us))) for c, _ in trial.energy.curves if len(c.t_us) > 1]
    return max(1, math.ceil(max(TTFTS * ttft_us, STEPS * max(steps_us, default=0.0)) / GRID_US)) * GRID_US


def _active_j(trial: TrialWindow, edges_us: Instants) -> Floats:
    """Return the energy of each bin while some request was active."""
    activity = Activity.of(trial.energy.window, trial.instants("sent_at"), trial.instants("done_at"))
    all_us = np.unique(np.concatenate((activity.edges_us, edges_us)))
    pieces_j = np.diff(cumulative_j(trial.energy.curves, all_us, trial.energy.window))
    number = np.searchsorted(all_us, activity.edges_us)
    pieces_j[active_requests(len(all_us), number[activity.first], number[activity.last]) == 0] = 0.0
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
