"""The NVML meter on the double: what it asks, what it says, and what it makes of trouble."""

import time
from itertools import pairwise

import pytest
from nvml_double import Device, devices
from truth import Constant, Square

from joulemark.agents.meters import discover
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml import gpus as gpus_module
from joulemark.agents.meters.nvml.average import NvmlAverageMeter
from joulemark.agents.meters.nvml.gpus import Gpu, Gpus
from joulemark.agents.meters.nvml.meter import NvmlMeter

CONSTANT = Constant(250.0)
SUPERCHIP = {"name": "NVIDIA GH200 480GB", "module_w": 150.0, "memory_share": 0.2}


def scopes(meter):
    return [(c.scope, c.fidelity) for c in meter.channels]


def watts(reading):
    return None if reading.power_mw is None else reading.power_mw / 1e3


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return result


def test_counter_and_instant_power_come_in_one_call_per_board(playing):
    with playing(*devices(8, CONSTANT)) as (double, gpus):
        meter = NvmlMeter.of(gpus)
        before = double.field_calls()
        readings = meter.read()
        assert [a - b for a, b in zip(double.field_calls(), before, strict=True)] == [1] * 8
        assert [r.channel.device for r in readings] == list(double.uuids)
        assert {(r.channel.scope, r.channel.fidelity, r.power_mw, r.reason) for r in readings} == {
            ("gpu_board", "counter", 250_000, None)
        }
        assert all(r.energy_uj % 1000 == 0 and r.energy_uj > 0 for r in readings)
        assert NvmlAverageMeter.beside(meter) is None


def test_counter_grows_by_the_energy_that_was_used(playing):
    with playing(Device(Square(100.0, 400.0, 0.31)), speed=20.0) as (double, gpus):
        meter = NvmlMeter.of(gpus)
        start_ns, first = time.monotonic_ns(), meter.read()[0].energy_uj
        time.sleep(0.2)
        last, end_ns = meter.read()[0].energy_uj, time.monotonic_ns()
        true_j = double.true_energy_j(0, start_ns, end_ns)
        # Both edges lie within a step of the counter and the time that a read took.
        assert (last - first) / 1e6 == pytest.approx(true_j, abs=2 * 0.1 * 400 + 400 * 20 * 0.05)


def test_memory_is_a_scope_of_its_own_where_it_is_measured(playing):
    with playing(Device(CONSTANT, memory_share=0.3)) as (double, gpus):
        meter = NvmlMeter.of(gpus)
        assert scopes(meter) == [("gpu_board", "counter"), ("gpu_memory", "sampled")]
        before = double.field_calls()[0]
        board, memory = meter.read()
        assert double.field_calls()[0] == before + 1
        assert (watts(board), watts(memory), memory.energy_uj) == (250.0, 75.0, None)


@pytest.mark.parametrize(
    ("missing", "power_w", "counts", "said"),
    [
        (("instant",), 250.0, True, "1 s mean (field 185)"),
        (("instant", "average"), 250.0, True, "power usage"),
        (("energy",), 250.0, False, "instant (field 186)"),
        (("fields",), 250.0, True, "power usage"),
        (("fields", "energy"), 250.0, False, "power usage"),
        (("instant", "average", "usage"), None, True, "none"),
    ],
)
def test_older_cards_give_what_they_have(playing, missing, power_w, counts, said):
    with playing(Device(CONSTANT, missing=missing)) as (_, gpus):
        meter = NvmlMeter.of(gpus)
        (reading,) = meter.read()
        assert (watts(reading), reading.energy_uj is not None, reading.reason) == (power_w, counts, None)
        assert scopes(meter) == [("gpu_board", "counter" if counts else "sampled")]
        assert list(meter.describe()["power"].values()) == [said]


def test_a_card_without_any_sensor_has_no_channel(playing):
    with playing(Device(missing=("fields", "energy", "usage"))) as (_, gpus):
        assert NvmlMeter.of(gpus).read() == []


def test_on_a_gh200_the_counter_is_the_modules(playing):
    with playing(Device(CONSTANT, counter_of_module=1, **SUPERCHIP)) as (_, gpus):
        meter = NvmlMeter.of(gpus)
        assert scopes(meter) == [("gpu_board", "sampled"), ("gpu_module", "counter"), ("gpu_memory", "sampled")]
        board, module, memory = meter.read()
        assert [watts(r) for r in (board, module, memory)] == [250.0, 400.0, 50.0]
        assert [r.energy_uj is not None for r in (board, module, memory)] == [False, True, False]
        mean = NvmlAverageMeter.beside(meter)
        assert [(c.scope, c.fidelity) for c in mean.channels] == [("gpu_board", "sampled")]
        assert [(watts(r), r.energy_uj, r.reason) for r in mean.read()] == [(250.0, None, None)]


def test_a_superchip_whose_counter_follows_the_gpu_alone_is_found_out(playing):
    with playing(Device(CONSTANT, **SUPERCHIP)) as (_, gpus):
        assert scopes(NvmlMeter.of(gpus)) == [
            ("gpu_board", "counter"),
            ("gpu_module", "sampled"),
            ("gpu_memory", "sampled"),
        ]


def test_gpus_of_one_superchip_report_it_once(playing, tmp_path):
    """A GB200 has two GPUs; each says what the whole module draws."""
    places = ["0008:01:00.0", "0009:01:00.0", "0018:01:00.0", "0019:01:00.0"]
    for place, node in zip(places, (0, 0, 1, 1), strict=True):
        (tmp_path / "pci" / place).mkdir(parents=True)
        (tmp_path / "pci" / place / "numa_node").write_text(f"{node}\n")
    chips = [Device(CONSTANT, pci=f"0000{p}", **SUPERCHIP) for p in places]
    with playing(*chips, pci=tmp_path / "pci") as (double, gpus):
        meter = NvmlMeter.of(gpus)
        a, b, c, d = double.uuids
        assert meter.describe()["modules"] == {a: [a, b], c: [c, d]}
        assert [x.device for x in meter.channels if x.scope == "gpu_module"] == [a, c]
        assert [x.device for x in meter.channels if x.scope == "gpu_board"] == [a, b, c, d]


def test_a_board_is_read_once_whatever_its_mig_instances(playing):
    with playing(Device(CONSTANT, mig=3), Device(CONSTANT), Device(CONSTANT, architecture=5)) as (double, gpus):
        meter = NvmlMeter.of(gpus)
        first, *_ = double.uuids
        assert meter.describe()["mig"] == {first: [f"MIG-{i}-{first}" for i in range(3)]}
        assert [(r.channel.device, watts(r)) for r in meter.read()] == [(u, 250.0) for u in double.uuids]


def test_a_lost_device_is_null_with_a_reason_and_the_others_go_on(playing):
    lost = Device(CONSTANT, lost_s=((50.6, 51.2),))
    with playing(Device(CONSTANT), lost, Device(CONSTANT), age_s=50) as (double, gpus):
        meter = NvmlMeter.of(gpus)
        assert [watts(r) for r in meter.read()] == [250.0] * 3
        gone = until(lambda: (r := meter.read())[1].power_mw is None and r)
        assert [watts(r) for r in gone] == [250.0, None, 250.0]
        assert (gone[1].energy_uj, gone[1].reason) == (None, "nvml: GPU is lost")
        assert gone[1].channel.device == double.uuids[1]
        until(lambda: all(r.power_mw for r in meter.read()))


def test_a_device_that_is_lost_from_the_start_has_its_rows_too(playing):
    with playing(Device(CONSTANT), Device(CONSTANT), age_s=50) as (double, gpus):
        double.devices = (Device(CONSTANT), Device(CONSTANT, lost_s=((0.0, 50.7),)))
        double.write()
        api.reopen()
        for gpu in gpus.gpus.values():
            gpu.look_again()
        meter = NvmlMeter.of(gpus)
        assert [c.device for c in meter.channels] == list(double.uuids)
        assert [r.reason for r in meter.read()] == [None, "nvml: GPU is lost"]
        until(lambda: all(r.power_mw for r in meter.read()))


def test_a_reloaded_driver_is_found_again_and_its_counter_begins_anew(playing):
    with playing(Device(CONSTANT), Device(CONSTANT), age_s=50, unloaded_s=((50.6, 51.0),)) as (_, gpus):
        meter = NvmlMeter.of(gpus)
        before = [r.energy_uj for r in meter.read()]
        gone = until(lambda: (r := meter.read())[0].power_mw is None and r)
        assert gone[0].reason == "nvml: Uninitialized"
        reasons, readings = set(), gone
        while any(r.power_mw is None for r in readings):
            reasons |= {r.reason for r in readings if r.power_mw is None}
            readings = meter.read()
        assert reasons <= {"nvml: Uninitialized", "nvml: Driver Not Loaded"}
        assert "nvml: Driver Not Loaded" in reasons
        assert all(r.energy_uj < b for r, b in zip(readings, before, strict=True))


def test_a_vanished_device_is_left_alone_longer_and_longer(playing, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(gpus_module, "RETRY_S", (1.0, 30.0))
    monkeypatch.setattr(gpus_module.time, "monotonic", lambda: now_s[0])
    asked = []
    with playing(Device(lost_s=((0.0,),), uuid="GPU-1"), Device()) as (_, gpus):
        gone = gpus.gpus.setdefault("GPU-1", Gpu("GPU-1", "lost", handle=None, _pause_s=1.0))
        real = api.by_uuid
        monkeypatch.setattr(api, "by_uuid", lambda u: (asked.append(now_s[0]), real(u))[1])
        for _ in range(1000):
            with pytest.raises(api.NvmlError, match="GPU is lost"):
                gpus.use(gone, api.name)
            now_s[0] += 0.1
    pauses = [round(b - a) for a, b in pairwise(asked)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30][: len(pauses)]
    assert len(pauses) >= 5


def test_a_counter_that_goes_backwards_is_given_as_read(playing):
    with playing(Device(CONSTANT, reset_s=(50.5,)), age_s=50) as (_, gpus):
        meter = NvmlMeter.of(gpus)
        before = meter.read()[0].energy_uj
        until(lambda: meter.read()[0].energy_uj < before)


def test_no_driver_is_no_error_and_a_broken_one_is_said(world, monkeypatch):
    with world(Device(), unloaded_s=((0.0,),)).in_this_process():
        assert Gpus.found() is None
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: None))

    def broken():
        raise api.NvmlError(18)

    monkeypatch.setattr(discover.NvmlMeter, "found", staticmethod(broken))
    meters, warnings = discover.discover((1.0, 9.0))
    assert [m.name for m in meters] == ["cpu-model"]
    assert "nvidia-smi" in warnings[0]
    assert "mismatch" in warnings[0]


def test_discovery_finds_the_gpus_and_the_mean_beside_them(world, monkeypatch):
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: None))
    with world(Device(CONSTANT), Device(CONSTANT, missing=("energy",))).in_this_process():
        meters, warnings = discover.discover()
        assert ([m.name for m in meters], warnings) == (["nvml", "nvml-average"], [])
        assert [c.device for c in meters[1].channels] == [meters[0].channels[1].device]
        meters[0].gpus.close()


def test_beside_gpus_the_cpu_model_is_there_for_engines_on_the_cpu(world, monkeypatch):
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: None))
    with world(Device(CONSTANT)).in_this_process():
        meters, _ = discover.discover(cpu_engines=True)
        assert [m.name for m in meters] == ["nvml", "cpu-model"]
        meters[0].gpus.close()
