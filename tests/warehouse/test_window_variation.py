"""What one window says of its own J per token: stated errors hold the truth though neighbours are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from synthetic import Spec, add_trial

from joulemark.warehouse.build.window_variation import COARSEST, FINEST, tokens_until, variation
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.store.location import Warehouse

POINTS, WINDOWS = 10, 400


def remembering(random, length):
    """Return noise that remembers so many blocks."""
    rho = np.exp(-1 / (length * POINTS)) if length else 0.0
    noise = random.normal(size=(FINEST + 64) * POINTS)
    return lfilter([np.sqrt(1 - rho**2)], [1, -rho], noise)[64 * POINTS :]


@pytest.mark.parametrize("length", [0, 1, 4])
def test_stated_errors_hold_the_truth(length):
    random = np.random.default_rng(length)
    held = 0
    for _ in range(WINDOWS):
        tokens = 100 * (1 + 0.1 * remembering(random, length))
        energy_j = 0.2 * tokens * (1 + 0.05 * remembering(random, length)) + 40 * (1 + 0.02 * remembering(random, 0))
        energy_j, tokens = (v.reshape(FINEST, POINTS).sum(axis=1) for v in (energy_j, tokens))
        found = variation(energy_j, tokens)
        held += abs(energy_j.sum() / tokens.sum() / 0.6 - 1) <= found.error
    assert 0.91 <= held / WINDOWS <= 0.985


def test_what_is_the_same_everywhere_is_known():
    found = variation(np.full(FINEST, 3.0), np.full(FINEST, 2.0))
    assert (found.blocks, found.error, found.correlation) == (FINEST, 0, 0)


def test_slow_changes_make_long_blocks():
    power = 300 + 50 * np.sin(np.arange(FINEST) * 2 * np.pi / FINEST)
    assert variation(power, np.ones(FINEST)).blocks == COARSEST


def test_without_energy_or_tokens_nothing_is_said():
    assert variation(np.zeros(FINEST), np.ones(FINEST)) is None
    assert variation(np.ones(FINEST), np.zeros(FINEST)) is None


def test_tokens_are_spread_over_their_answer():
    first, last, tokens = np.array([0, 50, 120]), np.array([100, 50, 140]), np.array([10.0, 4.0, 6.0])
    until = tokens_until(np.array([-5, 0, 25, 49, 51, 100, 130, 500]), first, last, tokens)
    assert until == pytest.approx([0, 0, 2.5, 4.9, 9.1, 14, 17, 20])


def test_it_is_built_for_each_trial(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    truth = add_trial(warehouse, Spec(), 0)
    add_trial(warehouse, Spec(repeat=1, outcome="failed"), 1)
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from window_variation").to_pylist()
    assert (row["trial"], row["boundary"]) == (truth.trial, "cpu")
    assert row["blocks"] * row["block_s"] == pytest.approx(10)
    assert 0 < row["error"] < 0.2
