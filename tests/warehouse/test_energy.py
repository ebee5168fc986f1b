"""Energy of an interval against signals whose integral is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.warehouse.build.energy import counter_energy, power_integral

S = 1_000_000
T0 = 1_760_000_000_000_000


def true_j(t_us):
    """Energy of 100 W + 40 W sin(2 pi t / 7 s), since T0."""
    s = (np.asarray(t_us) - T0) / S
    return 100 * s + 40 * 7 / (2 * np.pi) * (1 - np.cos(2 * np.pi * s / 7))


def counter(poll_us, step_us, until_s=60, phase_us=0):
    """A counter that moves every ``step_us`` and is read every ``poll_us``."""
    t_us = np.arange(T0 + phase_us, T0 + until_s * S, poll_us, dtype=np.int64)
    moved = T0 + (t_us - T0) // step_us * step_us
    return t_us, np.rint(true_j(moved) * 1e6).astype(np.int64) + 5_000_000_000


def readings(poll_us=100_000, until_s=60):
    t_us = np.arange(T0, T0 + until_s * S, poll_us, dtype=np.int64)
    return t_us, np.rint((100 + 40 * np.sin(2 * np.pi * (t_us - T0) / S / 7)) * 1e3).astype(np.int64)


@given(
    start=st.integers(5_000_000, 20_000_000),
    length=st.integers(5_000_000, 30_000_000),
    poll=st.sampled_from([10_000, 30_000, 47_000, 100_000, 250_000]),
    step=st.sampled_from([1_000, 20_000, 100_000]),
)
def test_counter_is_within_its_uncertainty(start, length, poll, step):
    estimate = counter_energy(*counter(poll, step), T0 + start, T0 + start + length)
    truth = true_j(T0 + start + length) - true_j(T0 + start)
    # A reading lags its counter's step by up to a poll: at most one step and one poll of the highest power per edge.
    assert abs(estimate.energy_j - truth) <= 2 * 140 * (poll + step) / S
    assert estimate.reasons == ()
    assert estimate.coverage == 1.0


@pytest.mark.parametrize("poll_us", [21_000, 30_000, 37_000, 47_000])
def test_the_counter_s_steps_are_found_between_the_polls(poll_us):
    """Neither the polls nor the polls that show a change are where a 100 ms counter moved."""
    t_us, energy = counter(poll_us, 100_000)
    changed = np.flatnonzero(np.diff(energy)) + 1
    errors = {"ours": [], "polls": [], "changes": []}
    for offset in range(0, 1_000_000, 17_000):
        edges = [T0 + 10 * S + offset, T0 + 31 * S + 7 * offset]
        truth = true_j(edges[1]) - true_j(edges[0])
        errors["ours"].append(counter_energy(t_us, energy, *edges).energy_j - truth)
        for name, at in {"polls": slice(None), "changes": changed}.items():
            errors[name].append(np.diff(np.interp(edges, t_us[at], energy[at] / 1e6))[0] - truth)
    rms = {name: np.sqrt(np.mean(np.square(e))) for name, e in errors.items()}
    assert rms["ours"] < 0.7 * rms["changes"] < 0.7 * rms["polls"]


def test_a_counter_that_moves_at_every_poll_moved_some_time_since_the_last():
    t_us = np.arange(T0, T0 + 40 * S, 100_000, dtype=np.int64)
    energy = (t_us - T0) * 200
    estimate = counter_energy(t_us, energy, T0 + 10 * S + 31_000, T0 + 20 * S + 31_000)
    assert estimate.energy_j == pytest.approx(2000, rel=1e-12)
    assert estimate.uncertainty_j == pytest.approx(1.96 * np.sqrt(2) * 0.1 / np.sqrt(12) * 200)
    assert estimate.budget.transient_j == 0
    assert estimate.peak_w == pytest.approx(200)
    assert estimate.samples == 100


def test_integral_of_known_power():
    estimate = power_integral(*readings(), T0 + 10 * S + 33_333, T0 + 40 * S + 77_777)
    assert estimate.energy_j == pytest.approx(true_j(T0 + 40 * S + 77_777) - true_j(T0 + 10 * S + 33_333), rel=2e-5)
    assert estimate.peak_w == pytest.approx(140, rel=1e-3)


def test_integral_of_linear_power_is_exact_at_any_edge():
    t_us = np.arange(T0, T0 + 10 * S + 1, S, dtype=np.int64)
    estimate = power_integral(t_us, np.arange(11) * 1000, T0 + 2_300_000, T0 + 7_900_000)
    assert estimate.energy_j == pytest.approx((7.9**2 - 2.3**2) / 2, rel=1e-12)


def test_a_gap_is_a_reason_and_only_the_counter_bridges_it():
    t_us, energy = counter(100_000, 100_000)
    kept = (t_us < T0 + 20 * S) | (t_us > T0 + 25 * S)
    estimate = counter_energy(t_us[kept], energy[kept], T0 + 10 * S, T0 + 40 * S)
    assert estimate.reasons == ("sample_gap",)
    assert estimate.energy_j == pytest.approx(true_j(T0 + 40 * S) - true_j(T0 + 10 * S), rel=1e-2)
    assert estimate.coverage == pytest.approx(25 / 30, abs=0.01)
    t_us, power = readings()
    estimate = power_integral(t_us[kept], power[kept], T0 + 10 * S, T0 + 40 * S)
    assert estimate.reasons == ("sample_gap",)
    assert estimate.energy_j is None
    assert estimate.uncertainty_j is None


def test_a_gap_over_an_edge_supports_no_figure():
    t_us, energy = counter(100_000, 100_000)
    kept = (t_us < T0 + 8 * S) | (t_us > T0 + 12 * S)
    estimate = counter_energy(t_us[kept], energy[kept], T0 + 10 * S, T0 + 40 * S)
    assert estimate.energy_j is None
    assert estimate.reasons == ("sample_gap", "edge_not_bracketed")


def test_gap_limit_follows_a_slow_meter():
    t_us = np.arange(T0, T0 + 600 * S, 10 * S, dtype=np.int64)
    estimate = power_integral(t_us, np.full(len(t_us), 50_000), T0 + 95 * S, T0 + 305 * S)
    assert estimate.reasons == ()
    assert estimate.energy_j == pytest.approx(50 * 210)


@pytest.mark.parametrize("cut", [lambda t: t > T0 + 11 * S, lambda t: t < T0 + 39 * S])
def test_an_edge_without_a_reading_beyond_it(cut):
    for estimate in (
        counter_energy(
            *(c[cut(counter(100_000, 100_000)[0])] for c in counter(100_000, 100_000)), T0 + 10 * S, T0 + 40 * S
        ),
        power_integral(*(c[cut(readings()[0])] for c in readings()), T0 + 10 * S, T0 + 40 * S),
    ):
        assert estimate.energy_j is None
        assert estimate.reasons == ("edge_not_bracketed",)
        assert estimate.coverage < 1


def test_a_reset_inside_is_no_figure_and_one_outside_does_no_harm():
    t_us, energy = counter(100_000, 100_000)
    inside = np.where(t_us > T0 + 20 * S, energy - energy[200], energy)
    estimate = counter_energy(t_us, inside, T0 + 10 * S, T0 + 40 * S)
    assert (estimate.energy_j, estimate.reasons) == (None, ("counter_reset",))
    for at_s in (5, 50):
        outside = np.where(t_us > T0 + at_s * S, energy - energy[0] if at_s == 50 else energy - 5_000_000_000, energy)
        estimate = counter_energy(t_us, outside, T0 + 10 * S, T0 + 40 * S)
        assert estimate.reasons == ()
        assert estimate.energy_j == pytest.approx(true_j(T0 + 40 * S) - true_j(T0 + 10 * S), rel=1e-2)


def test_no_readings_and_a_counter_that_stands_are_not_zero():
    nothing = np.empty(0, np.int64)
    for estimate in (counter_energy(nothing, nothing, T0, T0 + S), power_integral(nothing, nothing, T0, T0 + S)):
        assert (estimate.energy_j, estimate.coverage, estimate.reasons) == (None, 0.0, ("no_power",))
    t_us, energy = counter(100_000, 100_000)
    estimate = counter_energy(t_us, np.full_like(energy, 7), T0 + 10 * S, T0 + 40 * S)
    assert estimate.energy_j is None
    assert "no_power" in estimate.reasons


def test_one_reading_alone():
    one = np.array([T0 + S], np.int64)
    for estimate in (counter_energy(one, one, T0, T0 + 2 * S), power_integral(one, one, T0, T0 + 2 * S)):
        assert estimate.energy_j is None
        assert "edge_not_bracketed" in estimate.reasons


def test_an_interval_without_length_is_a_mistake():
    with pytest.raises(ValueError, match="no length"):
        power_integral(*readings(), T0, T0)
