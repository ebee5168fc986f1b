"""Facts of a place: defaults that say so, strict files."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from joulemark.warehouse.errors import BadInput, NewerSchema
from joulemark.workloads.meters import MeterSource
from joulemark.workloads.site import CpuWatts, Price, default_site, load_site, parse_site

FULL = """\
schema: 1
name: hall-3
currency: EUR
as_of: 2026-11-01
gpu_hour:
  H100: {price: 2.2, includes_power: false}
  H200: {price: 2.9, includes_power: true, as_of: 2026-10-01}
cpu_node_hour: {price: 0.4, includes_power: false}
electricity: {per_kwh: 0.18, as_of: 2026-09-01}
pue: 1.2
power_budget_w: 40000
cooling_budget_w: 36000
utilisation: 0.6
cpu_watts: {idle: 60, full: 280}
clients: [cpu-1, cpu-2]
"""


def test_no_file_gives_defaults_that_say_so():
    site = load_site(None)
    assert site == default_site()
    assert site.are_defaults
    assert site.pue >= 1
    assert site.gpu_price("H100").includes_power


def test_a_full_file(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(FULL)
    site = load_site(file)
    assert not site.are_defaults
    assert site.gpu_hour["H100"] == Price(2.2, includes_power=False, as_of=dt.date(2026, 11, 1))
    assert site.gpu_hour["H200"].as_of == dt.date(2026, 10, 1)
    assert site.cpu_node_hour == Price(0.4, includes_power=False, as_of=dt.date(2026, 11, 1))
    assert (site.electricity_per_kwh, site.electricity_as_of) == (0.18, dt.date(2026, 9, 1))
    assert (site.pue, site.power_budget_w, site.cooling_budget_w, site.utilisation) == (1.2, 40000, 36000, 0.6)
    assert site.cpu_watts == CpuWatts(60, 280)
    assert site.clients == {"cpu-1", "cpu-2"}
    assert site.text == FULL


def test_prices_are_never_half_default():
    site = parse_site("schema: 1\nname: x\ncurrency: EUR", "site.yaml")
    assert site.gpu_price("H100") is None
    assert site.cpu_node_hour is None
    assert site.pue == default_site().pue


def test_prices_are_found_by_device_name_too():
    site = default_site()
    assert site.gpu_price("NVIDIA H100 80GB HBM3") == site.gpu_hour["H100"]
    assert site.gpu_price("NVIDIA A100-SXM4-80GB") == site.gpu_hour["A100"]
    assert site.gpu_price("NVIDIA L40S") == site.gpu_hour["L40S"]
    assert site.gpu_price("NVIDIA GeForce RTX 4090") is None


def test_price_records_are_flat_and_unknown_prices_are_none():
    site = parse_site(FULL, "site.yaml")
    assert site.price_record("H200") == {
        "gpu_hour": 2.9,
        "electricity_per_kwh": 0.18,
        "pue": 1.2,
        "includes_power": True,
        "currency": "EUR",
        "as_of": "2026-10-01",
    }
    assert site.price_record("cpu")["gpu_hour"] == 0.4
    unknown = site.price_record("MI300X")
    assert (unknown["gpu_hour"], unknown["includes_power"], unknown["as_of"]) == (None, None, "2026-11-01")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("peu: 1.2", "site.yaml:4:1: unknown key 'peu' in the site file: did you mean pue?"),
        ("pue: 0.9", "pue must be at least 1, found 0.9"),
        ("gpu_hour: {H100: 2.5}", "expected H100, found 2.5"),
        ("gpu_hour: {H100: {price: 2.5}}", "H100 lacks the key 'includes_power'"),
        ("gpu_hour: {H100: {price: -1, includes_power: true}}", "price must be at least 0"),
        ("electricity: 0.2", "expected electricity, found 0.2"),
        ("utilisation: 60", "utilisation is a share, over 0 and up to 1, found 60"),
        ("utilisation: 0", "utilisation is a share"),
        ("cpu_watts: {idle: 50}", "cpu_watts lacks the key 'full'"),
        ("cpu_watts: {idle: 50, full: 40}", "full (40) must be more than idle (50)"),
        ("as_of: yesterday", "a date such as 2026-11-20"),
        ("power_budget_w: 5kW", "expected power_budget_w, a number, found '5kW'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(line, says):
    with pytest.raises(BadInput) as caught:
        parse_site(f"schema: 1\nname: x\ncurrency: EUR\n{line}\n", "site.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("site.yaml:")


def test_files_that_are_not_there_or_too_new(tmp_path):
    with pytest.raises(BadInput, match="there is no site file"):
        load_site(tmp_path / "nowhere.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        load_site(tmp_path)
    with pytest.raises(NewerSchema, match="schema 2 is newer"):
        parse_site("schema: 2", "site.yaml")


HEAD = "schema: 1\nname: x\ncurrency: EUR\n"


def meters(text):
    return parse_site(f"{HEAD}meters:\n{text}", "site.yaml").meters


def test_meters_of_a_place():
    node, outlets = meters("""\
  - {exporter: ipmi, url: "http://{node}:9290/metrics"}
  - exporter: snmp
    name: pdu
    node: gpu-0[12]
    url: ["http://snmp/snmp?target=a", "http://snmp/snmp?target=b"]
    metric: rPDU2OutletMeteredStatusPower
    labels: {outlet: [3, 4], unit: 1, name: "{node}-.*"}
    device: "outlet-{outlet}"
    scope: node_ac
    factor: 0.1
    every: 500ms
    timeout: 2s
    refresh: 1s
""")
    assert node == MeterSource("ipmi", "ipmi", ("http://{node}:9290/metrics",))
    assert node.is_for("anything")
    assert (outlets.name, outlets.urls) == ("pdu", ("http://snmp/snmp?target=a", "http://snmp/snmp?target=b"))
    assert outlets.labels == {"outlet": ("3", "4"), "unit": ("1",), "name": "{node}-.*"}
    assert (outlets.metric, outlets.device, outlets.scope) == (
        ("rPDU2OutletMeteredStatusPower",),
        "outlet-{outlet}",
        "node_ac",
    )
    assert (outlets.factor, outlets.every_s, outlets.timeout_s, outlets.refresh_s) == (0.1, 0.5, 2.0, 1.0)
    assert [outlets.is_for(n) for n in ("gpu-01", "gpu-03")] == [True, False]


def test_an_own_mapping_travels_as_text(tmp_path):
    (tmp_path / "own.yaml").write_text("metrics: []\n")
    site = tmp_path / "site.yaml"
    site.write_text(f"{HEAD}meters: [{{mapping: own.yaml, url: 'http://x/'}}]\n")
    (meter,) = load_site(site).meters
    assert (meter.name, meter.exporter, meter.mapping) == ("own", "", "metrics: []\n")
    assert meter.mapping_file == str(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").unlink()
    with pytest.raises(BadInput, match="there is no mapping file"):
        load_site(site)


def test_meters_reach_the_sampler_as_they_are():
    sources = meters("  - {exporter: dcgm, url: 'http://{node}/', labels: {a: [1], b: x.*}}\n")
    assert msgspec.json.decode(msgspec.json.encode(sources), type=tuple[MeterSource, ...]) == sources


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{exporter: dgcm, url: 'http://x/'}", "site.yaml:5:16: 'dgcm' is no exporter: did you mean dcgm?"),
        ("{exporter: node, name: rapl, url: 'http://x/'}", "joulemark has something called 'rapl' itself"),
        ("{exporter: dcgm}", "a meter lacks the key 'url'"),
        ("{url: 'http://x/'}", "a meter has either 'exporter' (dcgm, node, ipmi, snmp, kepler) or 'mapping'"),
        ("{exporter: dcgm, mapping: a.yaml, url: 'http://x/'}", "a meter has either 'exporter'"),
        ("{exporter: dcgm, url: 'http://x/', nodes: a}", "unknown key 'nodes' in a meter: did you mean node?"),
        ("{exporter: dcgm, url: 'localhost:9400'}", "'localhost:9400' is no url of an exporter"),
        ("{exporter: dcgm, url: 'http://u:p@x/'}", "no password belongs into a url here"),
        ("{exporter: snmp, url: 'http://x/', metric: a}", "a meter of snmp needs 'metric' and 'labels'"),
        ("{exporter: ipmi, url: 'http://x/', scope: node_ac}", "'scope' goes over what a mapping says of one metric"),
        ("{exporter: ipmi, url: 'http://x/', metric: a, scope: node}", "'node' is no scope"),
        ("{exporter: ipmi, url: 'http://x/', labels: {a: '('}}", "'(' is no pattern"),
        ("{exporter: ipmi, url: 'http://x/', every: 10ms}", "every must be at least 0.1 s, found 0.01"),
        ("{exporter: ipmi, url: 'http://x/', timeout: soon}", "timeout: 'soon' is not a duration"),
    ],
)
def test_what_is_wrong_with_a_meter_is_said_with_its_place(entry, says):
    with pytest.raises(BadInput) as caught:
        meters(f"  - {entry}\n")
    assert says in str(caught.value)
    assert str(caught.value).startswith("site.yaml:")


def test_two_meters_of_the_same_nodes_have_two_names():
    with pytest.raises(BadInput, match=r"site.yaml:6:5: two meters are called 'ipmi': give this one another 'name'"):
        meters("  - {exporter: ipmi, url: 'http://x/'}\n  - {exporter: ipmi, url: 'http://y/'}\n")
    assert len(meters("  - {exporter: ipmi, url: 'http://x/'}\n  - {exporter: ipmi, node: b, url: 'http://y/'}\n")) == 2
