"""An energy register that wraps is carried on; one that was reset is not."""

import pytest

from joulemark.agents.meters import register
from joulemark.agents.meters.register import LEAST_MOST_W, MOST_W, TIMES_LIMIT, Register, most_w

RANGE_UJ = 65_532_610_987
"""Of a 32-bit register of an Intel server: it wraps in five minutes at 200 W."""
S = 1_000_000_000
W_S = 1_000_000
"""Microjoules per watt and second."""


def totals(monkeypatch, shown, **kwargs):
    """Return the totals of (seconds, shown microjoules)."""
    one, now_ns = Register(RANGE_UJ, **kwargs), [0]
    monkeypatch.setattr(register.time, "monotonic_ns", lambda: now_ns[0])
    found = []
    for at_s, value in shown:
        now_ns[0] = round(at_s * S)
        found.append(one.continued(value))
    return found


@pytest.mark.parametrize(
    ("watts", "carried_on"), [(0.1, True), (200, True), (1390, True), (1410, False), (4000, False)]
)
def test_a_wrap_that_the_zones_limit_allows_is_one(monkeypatch, watts, carried_on):
    last = RANGE_UJ - 5 * W_S
    now = round(watts * W_S) - 5 * W_S - 1
    if now < 0:
        last, now = RANGE_UJ - round(watts * W_S) + 1, 0
    begin, end = totals(monkeypatch, [(1, last), (2, now)], most_w=1400)
    assert begin == last
    assert (end > begin) is carried_on
    assert end == (last + round(watts * W_S) if carried_on else now)


def test_the_time_counts_since_it_last_showed_something_new(monkeypatch):
    # Shown every 10 s and asked every second: 3 kW in each second that it was asked in, 300 W in truth.
    asked = [(second, RANGE_UJ - 1000 * W_S) for second in range(10)]
    found = totals(monkeypatch, [*asked, (10, 2000 * W_S - 1)], most_w=1400)
    assert found[-1] - found[0] == 3000 * W_S


def test_it_goes_on_after_a_reset_and_over_many_wraps(monkeypatch):
    step = RANGE_UJ // 3
    shown = [(100 * n, n * step % (RANGE_UJ + 1)) for n in range(40)]
    assert totals(monkeypatch, shown) == [n * step for n in range(40)]
    assert totals(monkeypatch, [(0, step), (0.1, 7), (0.2, 9)]) == [step, 7, 9]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, MOST_W),
        ({"constraint_0_power_limit_uw": "350000000", "constraint_1_power_limit_uw": "420000000"}, TIMES_LIMIT * 420),
        ({"constraint_0_power_limit_uw": "0", "constraint_0_max_power_uw": "350000000"}, TIMES_LIMIT * 350),
        ({"constraint_0_max_power_uw": "16500000"}, LEAST_MOST_W),
        ({"constraint_0_power_limit_uw": "4095875000"}, MOST_W),
        ({"constraint_0_power_limit_uw": "no data\n", "constraint_0_time_window_uw": "999999999"}, MOST_W),
    ],
)
def test_what_a_zone_takes_at_most_comes_from_its_limits(tmp_path, limits, expected):
    for name, text in limits.items():
        (tmp_path / name).write_text(text)
    assert most_w(tmp_path) == expected
