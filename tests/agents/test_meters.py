"""Meters of a machine without a GPU: RAPL from powercap files, and the CPU model."""

import os
import subprocess
import sys
import time

import pytest

from joulemark.agents.meters import cpu_watts, discover
from joulemark.agents.meters.cpu_model import CpuModelMeter
from joulemark.agents.meters.cpu_watts import CpuWatts
from joulemark.agents.meters.process_tree import ProcessTree
from joulemark.agents.meters.rapl import RaplMeter
from joulemark.warehouse.errors import MeterError


def zone(root, name, label, energy_uj, range_uj=1000):
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


@pytest.fixture
def powercap(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl:0:0", "core", 60)
    zone(tmp_path, "intel-rapl:0:1", "dram", 10)
    zone(tmp_path, "intel-rapl:1", "psys", 500)
    return tmp_path


def test_rapl_keeps_scopes_that_contain_each_other_apart(powercap):
    meter = RaplMeter.found(powercap)
    assert [(c.device, c.scope) for c in meter.channels] == [
        ("package-0", "cpu_package"),
        ("rapl:0:core", "cpu_core"),
        ("rapl:0:dram", "dram"),
        ("psys", "platform"),
    ]
    assert [r.energy_uj for r in meter.read()] == [100, 60, 10, 500]


def test_rapl_counts_on_over_a_wrap(powercap):
    meter = RaplMeter.found(powercap)
    meter.read()
    for value, total in ((950, 950), (20, 1021), (20, 1021), (19, 2021)):
        (powercap / "intel-rapl:0" / "energy_uj").write_text(str(value))
        assert meter.read()[0].energy_uj == total


def test_rapl_total_falls_where_a_wrap_would_take_more_power_than_there_is(tmp_path):
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 50_000_000, range_uj=262_143_328_850)
    meter = RaplMeter.found(tmp_path)
    meter.read()
    totals = []
    for value in (60_000_000, 1_000_000, 2_000_000):
        (folder / "energy_uj").write_text(str(value))
        totals.append(meter.read()[0].energy_uj)
    assert totals == [60_000_000, 1_000_000, 2_000_000]


@pytest.mark.parametrize(
    ("vendor", "packages"),
    [
        ("AuthenticAMD", ["package-0", "package-1"]),
        ("GenuineIntel", ["package-0-die-0", "package-0-die-1", "package-1-die-0", "package-1-die-1"]),
    ],
)
def test_a_package_that_each_of_its_dies_shows_is_counted_once(tmp_path, vendor, packages):
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\n")
    for number in range(4):
        zone(tmp_path, f"intel-rapl:{number}", f"package-{number // 2}-die-{number % 2}", 100 + number)
    meter = RaplMeter.found(tmp_path, tmp_path / "cpuinfo")
    assert [c.device for c in meter.channels] == packages
    assert {c.scope for c in meter.channels} == {"cpu_package"}


def test_a_vanished_zone_is_null_with_a_reason_and_the_others_go_on(powercap):
    meter = RaplMeter.found(powercap)
    (powercap / "intel-rapl:0:0" / "energy_uj").unlink()
    readings = meter.read()
    assert readings[1].energy_uj is None
    assert "rapl" in readings[1].reason
    assert readings[0].energy_uj == 100


def test_root_only_counters_name_the_command_that_permits_them(powercap, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", _only_for("energy_uj", refuse))
    with pytest.raises(MeterError, match="sudo chmod"):
        RaplMeter.found(powercap)


def _only_for(name, refuse):
    from pathlib import Path

    real = Path.read_text

    def read_text(self, *args, **kwargs):
        return refuse(self) if self.name == name else real(self, *args, **kwargs)

    return read_text


def test_no_powercap_is_no_error(tmp_path):
    assert RaplMeter.found(tmp_path / "nothing") is None
    assert RaplMeter.found(tmp_path) is None


def test_the_cpu_model_stands_in_only_where_nothing_can_be_read(monkeypatch, powercap):
    rapl = RaplMeter.found(powercap)
    monkeypatch.setattr(discover.NvmlMeter, "found", staticmethod(lambda: None))
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: None))
    meters, _ = discover.discover((1.0, 9.0))
    assert [m.name for m in meters] == ["cpu-model"]
    assert meters[0].describe()["idle_w"] == 1.0
    monkeypatch.setattr(discover.RaplMeter, "found", staticmethod(lambda: rapl))
    assert [m.name for m in discover.discover()[0]] == ["rapl"]


def test_the_model_follows_cpu_time_and_is_labelled(monkeypatch):
    now_ns, cpu_ns = [0], [0]
    tree = ProcessTree()
    monkeypatch.setattr(tree, "cpu_ns", lambda: cpu_ns[0])
    monkeypatch.setattr("joulemark.agents.meters.cpu_model.time.monotonic_ns", lambda: now_ns[0])
    meter = CpuModelMeter(CpuWatts(idle_w=10.0, full_w=50.0, logical_cpus=4, source="test"), tree)
    first = meter.read()[0]
    assert (first.power_mw, first.energy_uj) == (None, 0)
    assert first.reason
    now_ns[0], cpu_ns[0] = 1_000_000_000, 2_000_000_000  # two of four CPUs busy for a second
    second = meter.read()[0]
    assert (second.power_mw, second.energy_uj) == (30_000, 30_000_000)
    assert second.channel.fidelity == "modelled"
    assert second.channel.scope == "cpu_process"
    now_ns[0] += 1_000_000_000
    assert meter.read()[0].power_mw == 10_000


def test_a_tree_counts_children_and_never_goes_backwards():
    code = "import subprocess,sys,time;p=subprocess.Popen([sys.executable,'-c','while 1: pass']);time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    tree = ProcessTree()
    try:
        tree.watch((process.pid,))
        seen, deadline = [tree.cpu_ns()], time.monotonic() + 30
        while seen[-1] < 300_000_000 and time.monotonic() < deadline:
            time.sleep(0.05)
            seen.append(tree.cpu_ns())
        assert seen[-1] >= 300_000_000, "the busy grandchild was not counted"
        assert seen == sorted(seen)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    total = tree.cpu_ns()
    assert total >= seen[-1]
    assert tree.cpu_ns() == total


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "row"),
    [
        ("GenuineIntel", "6", "85", "7", "Cascade Lake"),
        ("GenuineIntel", "6", "85", "4", "Skylake"),
        ("AuthenticAMD", "23", "49", "0", "EPYC 2nd generation"),
        ("GenuineIntel", "6", "999", "1", "generic"),
        ("unheard-of", "1", "x", "", "generic"),
    ],
)
def test_watts_come_from_the_row_of_the_cpu(vendor, family, model, stepping, row):
    facts = {"vendor_id": vendor, "cpu family": family, "model": model, "stepping": stepping}
    watts = cpu_watts.table_watts(facts, 8)
    assert repr(row) in watts.source
    assert 0 < watts.idle_w < watts.full_w
    assert cpu_watts.table_watts(facts, 16).full_w == 2 * watts.full_w


def test_watts_given_by_the_user_win():
    assert cpu_watts.machine_watts(2, (3.0, 12.0)) == CpuWatts(3.0, 12.0, 2, "figures given in site.yaml")
