"""How often an exporter's numbers change: measured, and held against the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.meters.prometheus.refresh import UPDATES_PER_WINDOW, Refresh
from joulemark.warehouse.errors import MeterError


def play(refresh, period_s, seconds, every_s=1.0, channels=("a",), start_s=1000.25):
    """Scrape an exporter whose channels take a new reading every ``period_s``; return the last verdict."""
    verdict = False
    for i in range(int(seconds / every_s)):
        at_s = start_s + i * every_s
        refresh.feed(at_s, {c: float(at_s // period_s) for c in channels})
        verdict = refresh.known("dcgm: URL", "REMEDY")
    return verdict


def test_thirty_seconds_is_too_slow_for_a_minute_and_the_line_says_what_to_do():
    refresh = Refresh(60.0)
    with pytest.raises(MeterError) as caught:
        play(refresh, 30, 40)
    text = str(caught.value)
    assert text.startswith("dcgm: URL did not change in 12 s, and a window of 60 s needs a change every 12 s: REMEDY;")
    assert "'refresh' in the site file" in text


def test_it_is_refused_as_soon_as_that_is_known():
    refresh = Refresh(60.0)
    assert play(refresh, 1e9, 13) is False
    with pytest.raises(MeterError):
        play(refresh, 1e9, 2, start_s=1013.25)


def test_thirty_seconds_will_do_for_ten_minutes():
    refresh = Refresh(600.0)
    assert play(refresh, 30, 100) is True
    assert refresh.period_s == pytest.approx(30, abs=1)


def test_a_period_that_is_seen_and_too_long():
    refresh = Refresh(40.0)
    for i in range(100):
        refresh.feed(i, {"a": float(i // 9)})
    with pytest.raises(MeterError, match=r"changes every 9.0 s, and a window of 40 s needs a change every 8.0 s"):
        refresh.known("dcgm: URL", "REMEDY")


@given(period_s=st.floats(0.05, 100), window_s=st.floats(5, 1000), channels=st.integers(1, 8))
def test_the_verdict_is_the_period_against_the_window(period_s, window_s, channels):
    needed_s = window_s / UPDATES_PER_WINDOW
    every_s = min(1.0, needed_s / 2)
    refresh = Refresh(window_s)
    try:
        verdict = play(refresh, period_s, 6 * max(period_s, every_s), every_s, range(channels))
    except MeterError:
        assert period_s > needed_s - every_s
    else:
        assert verdict
        assert period_s < needed_s + every_s
        assert refresh.period_s == pytest.approx(max(period_s, every_s), abs=every_s + 1e-6)


def test_parts_of_a_page_that_refresh_in_turn_do_not_look_faster():
    refresh = Refresh(60.0)
    for i in range(200):
        refresh.feed(i, {"bank 1": float(i // 30), "bank 2": float((i + 3) // 30)})
    assert refresh.period_s == pytest.approx(30, abs=1)
    with pytest.raises(MeterError):
        refresh.known("pdu: URL", "REMEDY")


def test_a_value_that_stays_the_same_by_chance_does_not_make_it_slow():
    refresh = Refresh(120.0)
    values = [300, 301, 300, 302, *[301] * 12, 300, 301, *[302] * 9, 301, 300]
    for i, value in enumerate(values):
        refresh.feed(i, {"a": float(value)})
        known = refresh.known("pdu: URL", "REMEDY")
    assert known
    assert refresh.period_s == 1


def test_numbers_that_stop_are_noticed():
    refresh = Refresh(60.0)
    play(refresh, 1, 10)
    for i in range(12):
        refresh.feed(1010 + i, {"a": 7.0})
        assert refresh.known("pdu: URL", "REMEDY")
    for i in range(12, 20):
        refresh.feed(1010 + i, {"a": 7.0})
    with pytest.raises(MeterError, match="does not change any more"):
        refresh.known("pdu: URL", "REMEDY")
    play(refresh, 1, 3, start_s=1040)


def test_the_users_word_replaces_measuring():
    assert play(Refresh(60.0, given_s=5.0), 1e9, 100) is True
    with pytest.raises(MeterError, match="changes every 30 s"):
        play(Refresh(60.0, given_s=30.0), 1, 2)


def test_without_a_window_anything_will_do():
    refresh = Refresh(None)
    assert play(refresh, 30, 100) is True
    assert refresh.period_s == pytest.approx(30, abs=1)
