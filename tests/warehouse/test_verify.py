"""The known answers come out right, and a function that is wrong is noticed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from joulemark.warehouse.build import energy
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.verify import faults, meter_log, shares, synthetic
from joulemark.warehouse.verify.case import Case, near, same
from joulemark.warehouse.verify.known import END_US, START_US, all_known
from joulemark.warehouse.verify.run import cases
from joulemark.warehouse.verify.signal import Sensor, Signal, polls_us

ROOT = Path(__file__).parents[2]
REFERENCE = Path(os.environ.get("JOULEMARK_REFERENCE", ROOT.parent / "shared" / "reference"))
LINE = "Time,07-17-2024 09:44:23.305,Watts,2406.5,Volts,239.1\n"


def test_all_come_out_right():
    found = list(cases())
    assert [c for c in found if not c.passed] == []
    assert {c.family for c in found} == {"counter", "integral", "gain", "additive", "faults", "clock", "shares"}


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no reference measurements at {REFERENCE}: set JOULEMARK_REFERENCE")
def test_published_measurements_come_out_right():
    found = [c for c in cases(REFERENCE) if c.family in ("wall meter", "GPU sensor")]
    assert [c for c in found if not c.passed] == []
    by_name = {c.name: c for c in found}
    assert by_name["h200x8-maxq-llama2-70b-offline, mean power in watts"].got == "6152.984435173287"
    assert by_name["a100-square-wave, its known error"].got == "-0.71%"
    assert by_name["a100-transient, its known error"].got.startswith("-5.")


WRONG = {
    "energy 1 % too high": (
        energy,
        "_estimate",
        lambda real: lambda *a: _scaled(real(*a), 1.01),
        synthetic.counter_cases,
    ),
    "a gap taken for none": (energy, "GAP_US", lambda _: 10**9, faults.fault_cases),
    "shares by lifetime": (shares, "equal_shares", lambda _: _overcounting, shares.share_cases),
}


def _scaled(estimate, factor):
    return replace(estimate, energy_j=estimate.energy_j and estimate.energy_j * factor)


def _overcounting(edges_j, activity):
    return edges_j[activity.last] - edges_j[activity.first], 0.0


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_noticed(monkeypatch, name):
    module, attribute, wrong, family = WRONG[name]
    monkeypatch.setattr(module, attribute, wrong(getattr(module, attribute)))
    assert [c for c in family() if c.passed is False]


def test_signals_have_the_energy_of_their_formulas():
    for known in all_known():
        assert known.signal.energy_j(START_US, END_US) == pytest.approx(known.energy_j, rel=1e-9)
        fine = np.linspace(START_US, END_US, 20_001)
        assert known.signal.since_begin_j(fine)[-1] - known.signal.since_begin_j(fine)[0] == pytest.approx(
            known.energy_j
        )


def test_a_sensor_shows_the_end_of_each_step():
    signal = Signal.steps(np.array([-1e6, 0, 75_000, 1e6]), np.array([100.0, 200.0, 400.0]))
    power_mw, energy_uj = Sensor(phase_us=0).read(signal, np.array([50_000, 99_999, 100_001, 150_000], dtype=np.int64))
    begin = power_mw[0]
    assert set(power_mw.tolist()) <= {100_000, 200_000, 400_000}
    assert begin in (100_000, 200_000)
    assert (np.diff(energy_uj) >= 0).all()
    assert len(polls_us(0, 1_000_000, 100_000)) == 10


def test_a_meter_log_is_read_or_refused_by_line():
    log = meter_log.parse(LINE + "\r\n" + LINE.replace("23.305", "24.305"))
    assert log.power_w == (2406.5, 2406.5)
    assert log.t_us[1] - log.t_us[0] == 1_000_000
    assert log.between(log.t_us[0], log.t_us[0]) == [2406.5]
    for line in ("Time,yesterday,Watts,1", "Watts,1", LINE.replace("2406.5", "nan"), LINE.replace("Watts", "Volts")):
        with pytest.raises(BadInput, match="line 2"):
            meter_log.parse(LINE + line)


@pytest.mark.parametrize("content", [{}, {"mlperf-inference-v9/x/spl.txt.gz": b"no gzip"}])
def test_a_folder_without_measurements_is_bad_input(tmp_path, content):
    for name, data in content.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        (path.parent / "expected.json").write_bytes(b"{}")
    with pytest.raises(BadInput, match=str(tmp_path)):
        list(cases(tmp_path))


def test_verdicts():
    assert near("f", "n", 1.0, None, 1).verdict == "WRONG"
    assert near("f", "n", 1.0, 1.5, 0.5).verdict == same("f", "n", 1, 1).verdict == "ok"
    assert Case("f", "n", "a", "b", None).verdict == "skipped"
    assert str(same("f", "n", (), ("x", "y"))) == "WRONG    f: n: expected no reason, got x, y"
