"""Mappings: what a page says, in which scope and fidelity, and one clear line where it says nothing."""

import dataclasses

import pytest
from exporter import DCGM, GRACE, HWMON, IPMI, KEPLER, MIG, OLD_KEPLER, PDU, RAPL, SUPERCHIPS, UNNAMED_RAILS, reference
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.meters.prometheus.channels import Channels
from joulemark.agents.meters.prometheus.mapping import mapping_of, parse_mapping
from joulemark.warehouse.errors import BadInput, MeterError
from joulemark.workloads.meters import EXPORTERS, MeterSource


def channels_of(exporter, powercap=None, prefix="", **entry):
    source = MeterSource(exporter, exporter, ("http://x/metrics",), **entry)
    channels = Channels(mapping_of(source), source, "gpu-01", prefix)
    return channels if powercap is None else dataclasses.replace(channels, powercap=powercap)


def table(channels, page):
    """Return (device, scope, fidelity) -> (watts, joules) of a page."""
    values = channels.values(page if isinstance(page, bytes) else page.encode())
    return {
        (v.channel.device, v.channel.scope, v.channel.fidelity): (
            None if v.power_mw is None else v.power_mw / 1e3,
            None if v.energy_uj is None else v.energy_uj / 1e6,
        )
        for v in values
    }


def refusal(channels, page):
    with pytest.raises(MeterError) as caught:
        channels.values(page if isinstance(page, bytes) else page.encode())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_dcgm_gives_power_and_counter_of_every_board():
    assert table(channels_of("dcgm"), DCGM) == {
        ("GPU-a", "gpu_board", "counter"): (411.25, 1234.567),
        ("GPU-b", "gpu_board", "counter"): (98.5, 0.089),
    }


def test_dcgm_on_a_real_node_with_power_only():
    found = table(channels_of("dcgm"), reference("dcgm-gb200.txt"))
    assert len(found) == 4
    assert found["GPU-c8edd83a-7dc2-4667-5639-a30a879048ae", "gpu_board", "sampled"] == (170.582, None)
    assert sum(watts for watts, _ in found.values()) == pytest.approx(688.013)


def test_mig_instances_show_the_whole_board_and_are_never_added():
    channels = channels_of("dcgm")
    assert table(channels, MIG) == {
        ("GPU-a", "gpu_board", "sampled"): (52.746, None),
        ("GPU-b", "gpu_board", "sampled"): (60.0, None),
    }
    assert channels.slices == {"GPU-a": ("3", "4", "5")}


def test_the_counter_of_a_superchip_is_not_the_boards():
    assert table(channels_of("dcgm"), SUPERCHIPS) == {
        ("GPU-a", "gpu_board", "sampled"): (300.0, None),
        ("GPU-a", "gpu_module", "counter"): (None, 5.0),
        ("GPU-b", "gpu_board", "sampled"): (170.0, None),
        ("grace-0-cpu-rail", "cpu_core", "sampled"): (31.427, None),
    }


def test_rapl_zones_stay_apart():
    assert table(channels_of("node"), RAPL) == {
        ("package-0", "cpu_package", "counter"): (None, 100.000001),
        ("package-1", "cpu_package", "counter"): (None, 200.0),
        ("core-0", "cpu_core", "counter"): (None, 50.25),
        ("dram-0", "dram", "counter"): (None, 7.5),
        ("psys-0", "platform", "counter"): (None, 900.0),
    }


def test_rapl_counts_on_over_a_wrap_where_the_range_is_known(tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    channels = channels_of("node", powercap=tmp_path)
    line = 'node_rapl_package_joules_total{{index="{}",path="/sys/class/powercap/intel-rapl:{}"}} {}\n'
    for first, total in ((262143.328, 262143.328), (0.0005, 262143.329351), (3.0, 262146.328851)):
        found = table(channels, line.format(0, 0, first) + line.format(1, 1, first))
        assert found["package-0", "cpu_package", "counter"] == (None, total)
        assert found["package-1", "cpu_package", "counter"] == (None, first)


def test_a_register_that_was_reset_on_a_page_has_not_wrapped(tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    channels = channels_of("node", powercap=tmp_path)
    line = 'node_rapl_package_joules_total{{index="0",path="/sys/class/powercap/intel-rapl:0"}} {}\n'
    totals = [table(channels, line.format(joules)) for joules in (500.0, 510.0, 3.0)]
    assert [t["package-0", "cpu_package", "counter"][1] for t in totals] == [500.0, 510.0, 3.0]


def test_the_rail_of_graces_cores_is_not_the_socket():
    assert table(channels_of("node"), GRACE) == {
        ("grace-0", "cpu_package", "sampled"): (100.5, None),
        ("grace-0-cpu-rail", "cpu_core", "sampled"): (53.25, None),
    }


def test_sockets_of_amd_energy_and_not_their_cores():
    assert table(channels_of("node"), HWMON) == {("esocket-0", "cpu_package", "counter"): (None, 4000.5)}


def test_a_rail_without_a_name_is_refused_until_the_user_says_what_it_is():
    text = refusal(channels_of("node"), UNNAMED_RAILS)
    assert "lnxsybus:00_acpi000d:01" in text
    entry = {"metric": ("node_hwmon_power_average_watt",), "scope": "cpu_package", "device": "grace-0"}
    picked = channels_of("node", labels={"chip": ".*acpi000d:01"}, **entry)
    assert table(picked, UNNAMED_RAILS) == {("grace-0", "cpu_package", "sampled"): (100.5, None)}
    assert "tell them apart" in refusal(channels_of("node", **entry), UNNAMED_RAILS)


def test_a_real_node_exporter_without_power_says_what_it_has():
    text = refusal(channels_of("node"), reference("node-exporter-gb200.txt"))
    assert text.startswith("node: the page lacks any metric of the mapping; it offers nothing of power or energy among")
    assert "go_gc_duration_seconds" in text


def test_ipmi_is_the_whole_node_metered():
    assert table(channels_of("ipmi"), IPMI) == {("gpu-01", "node_ac", "metered"): (1874.0, None)}


def test_ipmi_without_a_power_meter_shows_no_zero():
    channels = channels_of("ipmi")
    (value,) = channels.values(IPMI.replace("1874", "0").encode())
    assert (value.power_mw, value.reason) == (None, "ipmi: ipmi_dcmi_power_consumption_watts is 0")
    text = refusal(channels_of("ipmi"), 'ipmi_up{collector="dcmi"} 0\nipmi_power_watts{name="PSU1"} 3\n')
    assert text == (
        "ipmi: the page lacks ipmi_dcmi_power_consumption_watts; of power or energy it offers ipmi_power_watts"
    )


def test_outlets_of_a_pdu_are_those_that_are_named():
    outlets = {"rPDU2OutletMeteredStatusIndex": ("3", "4")}
    found = table(channels_of("snmp", metric=("rPDU2OutletMeteredStatusPower",), labels=outlets), PDU)
    assert found == {
        ("rPDU2OutletMeteredStatusIndex=3", "node_ac", "metered"): (812.0, None),
        ("rPDU2OutletMeteredStatusIndex=4", "node_ac", "metered"): (798.0, None),
    }
    whole = channels_of("snmp", metric=("rPDU2DeviceStatusPower",), labels={"rPDU2DeviceStatusIndex": ("1",)})
    assert table(whole, PDU) == {("rPDU2DeviceStatusIndex=1", "rack_ac", "metered"): (11600.0, None)}
    entry = {"kind": "counter", "factor": 3.6e6, "device": "pdu-{outlet}"}
    unlisted = channels_of("snmp", metric=("outletEnergy",), labels={"outlet": "3"}, **entry)
    assert table(unlisted, PDU) == {("pdu-3", "node_ac", "metered"): (None, 10482.5 * 3.6e6)}
    absent = channels_of("snmp", metric=("rPDU2OutletMeteredStatusPower",), labels={"outlet": ("17",)})
    assert "with the labels wanted; there are rPDU2OutletMeteredStatusIndex=3" in refusal(absent, PDU)


def test_kepler_is_the_node_and_never_its_containers():
    assert table(channels_of("kepler"), KEPLER) == {
        ("package", "cpu_package", "counter"): (None, 1500.5),
        ("dram", "dram", "counter"): (None, 70.0),
        ("gpu-01", "node_ac", "metered"): (1500.0, None),
    }


def test_old_kepler_adds_idle_and_dynamic_and_says_what_is_modelled():
    assert table(channels_of("kepler"), OLD_KEPLER) == {
        ("package-0", "cpu_package", "counter"): (None, 1000.0),
        ("package-1", "cpu_package", "modelled"): (None, 3.0),
    }


def test_pages_of_one_meter_keep_their_devices_apart():
    entry = {"metric": ("outletEnergy",), "labels": {"outlet": ".*"}, "kind": "counter"}
    found = [table(channels_of("snmp", prefix=f"{pdu}:", **entry), PDU) for pdu in ("pdu-a", "pdu-b")]
    assert [d for f in found for d, _, _ in f] == ["pdu-a:outlet=3", "pdu-b:outlet=3"]


def test_the_node_is_put_into_labels_and_devices():
    page = 'rack_watts{host="gpu-01"} 5\nrack_watts{host="gpu-02"} 7\nrack_watts{host="gpu-012"} 9\n'
    for wanted in ("{node}", ("{node}",)):
        channels = channels_of("snmp", metric=("rack_watts",), labels={"host": wanted}, device="at-{node}")
        assert table(channels, page) == {("at-gpu-01", "node_ac", "metered"): (5.0, None)}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-3", "1e300", "9.3e18"])
def test_numbers_that_are_no_power_are_missing_with_a_reason(value):
    (found,) = channels_of("ipmi").values(f"ipmi_dcmi_power_consumption_watts {value}\n".encode())
    assert found.power_mw is None
    assert found.reason.startswith("ipmi: ipmi_dcmi_power_consumption_watts is ")


def test_a_channel_that_goes_is_missing_and_the_others_go_on():
    channels = channels_of("dcgm")
    channels.values(DCGM.encode())
    lost = "\n".join(line for line in DCGM.split("\n") if "GPU-b" not in line)
    by_device = {v.channel.device: v for v in channels.values(lost.encode())}
    assert by_device["GPU-a"].power_mw == 411250
    assert (by_device["GPU-b"].power_mw, by_device["GPU-b"].reason) == (None, "dcgm: not on the page")


def test_a_line_that_was_cut_is_not_read():
    assert "lacks" in refusal(channels_of("ipmi"), "ipmi_dcmi_power_consumption_watts 18")


def test_channels_are_named_before_the_first_page():
    assert [c.device for c in channels_of("ipmi").expected()] == ["gpu-01"]
    assert [c.device for c in channels_of("dcgm").expected()] == ["dcgm"]


@given(st.sampled_from([DCGM, MIG, RAPL, GRACE, IPMI, PDU, KEPLER]), st.data())
def test_a_damaged_page_gives_values_or_a_refusal(page, data):
    body = bytearray(page.encode())
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    for exporter in EXPORTERS:
        entry = {"metric": ("rPDU2OutletMeteredStatusPower",), "labels": {}} if exporter == "snmp" else {}
        refused = None
        try:
            values = channels_of(exporter, **entry).values(bytes(body))
        except MeterError as error:
            refused, values = str(error), []
        assert refused is None or (refused and "\n" not in refused)
        assert all((v.power_mw or 0) >= 0 and (v.energy_uj or 0) >= 0 for v in values)
        assert all(v.reason for v in values if v.power_mw is None and v.energy_uj is None)


OWN = """\
metrics:
  - metric: bench_watts
    kind: gauge
    factor: 0.1
    scope: node_ac
    fidelity: metered
    device: "meter-{id}"
    where: {id: 'm(?P<number>[0-9])'}
"""


def test_an_own_mapping():
    source = MeterSource("bench", "", ("http://x/",), mapping=OWN, mapping_file="bench.yaml")
    channels = Channels(mapping_of(source), source, "n")
    assert table(channels, 'bench_watts{id="m1"} 2345\n') == {("meter-m1", "node_ac", "metered"): (234.5, None)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("kind: gauge", "kind: guage"), "own.yaml:3:11: 'guage' is no kind of metric: did you mean gauge?"),
        (("scope: node_ac", "scope: node"), "'node' is no scope: "),
        (("fidelity: metered", "fidelity: exact"), "'exact' is no fidelity"),
        (("    device", "    devise"), "own.yaml:7:5: unknown key 'devise' in a metric: did you mean device?"),
        (("[0-9])'", "[0-9]'"), "is no pattern: "),
        (("metrics:", "metric:"), "unknown key 'metric' in a mapping: did you mean metrics?"),
        (("    kind: gauge\n", ""), "a metric lacks the key 'kind'"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_said_with_its_place(change, says):
    with pytest.raises(BadInput) as caught:
        parse_mapping(OWN.replace(*change), "own.yaml")
    assert says in str(caught.value)
