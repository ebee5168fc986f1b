"""The observer effect, measured with the real sampler on the double's counters."""

import pytest
from nvml_double import devices
from truth import Constant

from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.observer import observe


def test_a_sampler_beside_the_counters_of_gpus_adds_nothing_to_them(playing, monkeypatch, tmp_path):
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "home"))
    with playing(*devices(2, Constant(60.0))) as (double, gpus):
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        meter = NvmlMeter.of(gpus)
        observed = observe([meter], 0.5, 2)
    assert [e.channel for e in observed.effects] == list(meter.channels)
    for effect in observed.effects:
        assert effect.without_w == pytest.approx(60, rel=0.05)
        assert effect.with_w == pytest.approx(60, rel=0.05)
    assert observed.cpu_share > 0
