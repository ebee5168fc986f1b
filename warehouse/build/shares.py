"""Rows of `request_energy` of one trial."""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.build.request_energy import cumulative_j, equal_shares, request_rows, window_edges
from joulemark.warehouse.build.trial_windows import TrialWindow


def share_rows(trial: TrialWindow) -> list[dict[str, Any]]:
    """Return what each request has of the window's energy, and the rest."""
    sent_us, done_us = trial.instants("sent_at"), trial.instants("done_at")
    edges_us, sent_us, done_us = window_edges(trial.window, sent_us, done_us)
    energy_j = cumulative_j(trial.curves, edges_us, trial.window)
    shares_j, rest_j = equal_shares(energy_j, edges_us, sent_us, done_us)
    numbers = list(zip(trial.requests["node"].to_pylist(), trial.requests["request"].to_pylist(), strict=True))
    return request_rows(trial.trial, trial.boundary, numbers, shares_j, rest_j, trial.node)
