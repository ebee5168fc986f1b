"""The double against its truth: what it says of a load is what the formulas of truth.py give, as sensors see it."""

import ctypes
import math
import time
from itertools import pairwise

import pytest
from nvml_double import Device, Double
from truth import Bursts, Constant, Phases, Ramp, Square, Trace, true_energy_j

from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead

LOADS = {
    "constant": Constant(123.0),
    "square": Square(80.0, 410.0, 0.73, 0.3),
    "ramp": Ramp(90.0, 500.0, 1.9),
    "bursts": Bursts(70.0, 690.0, 0.5, 0.06, seed=7),
    "phases": Phases(((0.4, 100.0), (0.9, 350.0), (0.2, 600.0))),
}
FIELDS = (api.ENERGY, (api.INSTANT, 0), (api.AVERAGE, 0))


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "trace.csv"
    points = [(1000, 100.0), (1300, 400.0), (1350, 90.0), (4000, 200.0)]
    path.write_text("t_ms,power_w\n" + "".join(f"{t},{w}\n" for t, w in points))
    return path


def stepped(t_s, step_s):
    return math.floor(t_s / step_s) * step_s


def readings(double, gpus, count=150):
    """Yield the double's time before and after, and the three values."""
    (gpu,) = gpus.gpus.values()
    read = FieldRead(FIELDS)
    for _ in range(count):
        before_s = double.now_s()
        values = read.read(gpu.handle)
        yield before_s, double.now_s(), values
        time.sleep(0.0005)


def hold(device, double, gpus, step_s=0.1):
    """Check every reading against what the sensors would make of the truth just before or just after it."""

    def mean_w(t_s, window_s):
        at_s = stepped(t_s, step_s) - device.lag_ms / 1e3
        return device.gain * true_energy_j(device.load, at_s - window_s, at_s) / window_s + device.offset_w

    def counted_j(t_s):
        at_s = stepped(t_s, step_s) - device.lag_ms / 1e3
        return device.base_j + device.gain * true_energy_j(device.load, 0, at_s) + device.offset_w * at_s

    for before_s, after_s, (energy_mj, instant_mw, average_mw) in readings(double, gpus):
        expected = [(counted_j(t), mean_w(t, 0.025), mean_w(t, 1.0)) for t in (before_s, after_s)]
        assert any(
            (energy_mj / 1e3, instant_mw / 1e3, average_mw / 1e3) == pytest.approx(e, rel=1e-9, abs=2e-3)
            for e in expected
        ), (before_s, after_s, expected)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_readings_are_the_truth_seen_in_steps_and_windows(playing, load):
    device = Device(load)
    with playing(device, speed=20.0) as (double, gpus):
        hold(device, double, gpus)


def test_lag_gain_and_offset(playing):
    device = Device(LOADS["square"], lag_ms=130.0, gain=1.05, offset_w=-4.0)
    with playing(device, speed=20.0) as (double, gpus):
        hold(device, double, gpus)


@pytest.mark.parametrize("loop", [False, True])
def test_a_recorded_trace(playing, recorded, loop):
    device = Device(Trace(recorded, loop=loop))
    with playing(device, speed=20.0, age_s=2) as (double, gpus):
        hold(device, double, gpus)


def test_a_trace_of_straight_lines_has_the_energy_of_its_trapezoids(recorded):
    once, again = Trace(recorded), Trace(recorded, loop=True)
    whole_j = 0.3 * 250 + 0.05 * 245 + 2.65 * 145
    assert once.energy_j(3.0) == pytest.approx(whole_j)
    assert once.energy_j(5.0) == pytest.approx(whole_j + 2 * 200)
    assert again.energy_j(6.3) == pytest.approx(2 * whole_j + 0.3 * 250)


def test_energy_of_any_load_is_the_integral_of_its_power():
    """The closed forms against a fine sum of small differences over sub-intervals that cross all edges."""
    for load in LOADS.values():
        edges = [i * 0.0313 for i in range(200)]
        parts = [true_energy_j(load, a, b) for a, b in pairwise(edges)]
        assert sum(parts) == pytest.approx(true_energy_j(load, edges[0], edges[-1]), rel=1e-12)
        assert all(60 * 0.0313 <= p <= 700 * 0.0313 for p in parts)


def test_one_slot_holds_one_burst():
    load = Bursts(70.0, 690.0, 0.5, 0.06, seed=7)
    slots = [true_energy_j(load, 0.5 * k, 0.5 * (k + 1)) for k in range(50)]
    assert slots == pytest.approx([70 * 0.5 + 620 * 0.06] * 50)


def test_a_counter_that_was_reset_begins_at_nothing(playing):
    with playing(Device(reset_s=(AGE - 1.0,)), age_s=AGE) as (double, gpus):
        for before_s, after_s, (energy_mj, _, _) in readings(double, gpus, 3):
            expected = {round(100 * (stepped(t, 0.1) - AGE + 1.0), 3) for t in (before_s, after_s)}
            assert round(energy_mj / 1e3, 3) in expected | {e - 0.001 for e in expected}


AGE = 40


def test_processes_agree_on_time_and_limits(playing, library):
    """A second copy of the library in this process stands for another process: it shares the file, not the memory."""
    with playing(Device()) as (double, gpus):
        (gpu,) = gpus.gpus.values()
        api.set_limit_mw(gpu.handle, 450_000)
        assert double.limits_mw() == (450_000,)
        assert api.limit_mw(gpu.handle) == 450_000


def test_what_is_not_there_is_not_supported(playing):
    with playing(Device(missing=("energy", "average"))) as (_, gpus):
        (gpu,) = gpus.gpus.values()
        energy, instant, average = FieldRead(FIELDS).read(gpu.handle)
        assert (str(energy), instant, str(average)) == ("nvml: Not Supported", 100_000, "nvml: Not Supported")


def test_a_slow_call_takes_its_time(playing):
    with playing(Device(sleep_us=3000.0), Device(busy_us=3000.0)) as (_, gpus):
        for gpu in gpus.gpus.values():
            begun = time.monotonic()
            FieldRead(FIELDS).read(gpu.handle)
            assert time.monotonic() - begun >= 0.003


def test_a_file_that_cannot_be_read_is_no_driver(library, tmp_path, monkeypatch, capfd):
    double = Double(tmp_path, library, [Device()])
    double.path.write_text("device\nuuid GPU-1\nlode constant 3\n")
    with double.in_this_process(), pytest.raises(api.NvmlError, match="Driver Not Loaded"):
        api.open_library()
    assert "lode" in capfd.readouterr().err
    assert ctypes.CDLL(str(library)).nvmlShutdown() == 1
