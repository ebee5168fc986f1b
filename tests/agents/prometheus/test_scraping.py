"""The meter against a real server: instants, faults, and that reading never waits."""

import dataclasses
import socket
import time

import pytest
from exporter import DCGM, IPMI, MIG, Exporter

from joulemark.agents.meters.discover import discover_sources
from joulemark.agents.meters.prometheus.fetch import Page, fetch
from joulemark.agents.meters.prometheus.meter import PrometheusMeter
from joulemark.warehouse.errors import MeterError
from joulemark.workloads.meters import MeterSource

DEADLINE_S = 60.0


def meter_of(*urls, exporter="ipmi", window_s=None, **entry):
    return PrometheusMeter.of(MeterSource(exporter, exporter, urls, **entry), "gpu-01", window_s)


def watts(number, _path="/"):
    return IPMI.replace("1874", str(1000 + number))


def until(found):
    """Return the first thing true that ``found`` gives."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return value


@pytest.fixture
def running():
    meters = []

    def start(meter):
        meters.append(meter)
        meter.start()
        return meter

    yield start
    for meter in meters:
        meter.stop()


def test_the_instant_is_the_middle_of_the_request():
    def slow(number, _):
        time.sleep(0.3)
        return watts(number)

    with Exporter(slow) as exporter:
        meter = meter_of(exporter.url)
        before_ns = time.monotonic_ns()
        meter.targets[0].scrape()
        after_ns = time.monotonic_ns()
    (reading,) = meter.read()
    assert reading.power_mw == 1_000_000
    assert before_ns + 0.1e9 < reading.at_ns < after_ns - 0.1e9
    assert meter.read() == []


def test_the_exporters_own_timestamp_is_taken():
    meter = meter_of("http://x/")
    target = meter.targets[0]
    wall_ns = 1_760_000_000_250_000_000
    for stamp, ago_ms in (("1759999990250", 10_000), ("1760000000.0", 250)):
        line = f"ipmi_dcmi_power_consumption_watts 7 {stamp}\n"
        target.take(Page(line.encode(), 40_000_000_000, 50_000_000_000), wall_ns)
        assert [r.at_ns for r in meter.read()] == [50_000_000_000 - ago_ms * 1_000_000]
    target.take(Page(line.encode(), 40_000_000_000, 51_000_000_000), wall_ns + 1_000_000_000)
    assert meter.read() == [], "the same timestamp again is no new reading"


def test_a_timestamp_that_lies_ahead_or_far_back_is_not_believed():
    meter = meter_of("http://x/")
    target = meter.targets[0]
    wall_ns = 1_760_000_000_250_000_000
    target.take(Page(b"ipmi_dcmi_power_consumption_watts 7 1760000009000\n", 10, 20), wall_ns)
    target.take(Page(b"ipmi_dcmi_power_consumption_watts 7 1750000000000\n", 30, 40), wall_ns)
    ahead, old = meter.read()
    assert (ahead.at_ns, ahead.power_mw) == (15, 7000)
    assert (old.power_mw, old.reason) == (None, "ipmi: the exporter's own timestamp is more than 600 s old")


def drip(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(600):
        connection.sendall(b"#")
        time.sleep(0.05)


def drip_head(connection):
    for _ in range(600):
        connection.sendall(b"H")
        time.sleep(0.05)


FAULTS = {
    "500": (b"HTTP/1.1 500 Internal Server Error\r\n\r\nsorry", "answered 500 Internal Server Error"),
    "moved": (
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: http://y/\r\n\r\n",
        "answered 301 Moved Permanently, moved to http://y/",
    ),
    "garbage": (b"\x00\xff\xfe nothing like it\r\n\r\n", ""),
    "hangs up": (lambda c: c.shutdown(socket.SHUT_RDWR), "Remote end closed connection without response"),
    "cut": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nipmi_dcmi",
        "the page was cut: 991 bytes of it are missing",
    ),
    "cut in a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nipmi_dcmi",
        "IncompleteRead",
    ),
    "says nothing": (lambda c: time.sleep(10), "no answer in 0.5 s"),
    "drips": (drip, "no answer in 0.5 s"),
    "drips its head": (drip_head, "no answer in 0.5 s"),
    "too long": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n" + b"#" * 16777217,
        "the page is longer than 16 MiB",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_null_with_a_reason_and_it_recovers(fault):
    page, says = FAULTS[fault]
    # The page that is too long needs its time on a busy machine.
    timeout_s = 30.0 if fault == "too long" else 0.5
    with Exporter(lambda n, _: watts(n) if n != 1 else page) as exporter:
        meter = meter_of(exporter.url, timeout_s=timeout_s)
        for _ in range(3):
            meter.targets[0].scrape()
        first, second, third = meter.read()
    assert (first.power_mw, third.power_mw) == (1_000_000, 1_002_000)
    assert second.power_mw is second.energy_uj is None
    assert second.channel == first.channel
    assert second.reason.startswith(f"{exporter.url}: ")
    assert says in second.reason
    assert "\n" not in second.reason
    assert first.at_ns < second.at_ns < third.at_ns
    assert meter.describe()["state"] == "ok"


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/metrics"
        meter = meter_of(url)
        meter.targets[0].scrape()
        (reading,) = meter.read()
    assert (reading.channel.device, reading.channel.scope) == ("gpu-01", "node_ac")
    assert reading.reason == f"{url}: Connection refused"
    assert meter.describe()["warning"] == reading.reason
    with pytest.raises(MeterError, match="invalid"):
        fetch("http://nobody.invalid/metrics", 5.0)


def test_garbage_with_success_names_what_is_there():
    with Exporter(lambda n, _: "<html><body>hello</body></html>") as exporter:
        meter = meter_of(exporter.url)
        meter.targets[0].scrape()
    (reading,) = meter.read()
    assert reading.reason.endswith("among 0 metrics, is it an exporter of Prometheus metrics?")


def test_reading_never_waits_for_a_hanging_exporter(running):
    with Exporter(lambda n, _: lambda c: time.sleep(30)) as exporter:
        meter = running(meter_of(exporter.url, timeout_s=20.0))
        until(lambda: exporter.asked)
        started = time.thread_time()
        wall = time.monotonic()
        assert [meter.read() for _ in range(1000)] == [[]] * 1000
        assert time.monotonic() - wall < 15, "reading waited for the exporter"
        assert time.thread_time() - started < 5


def test_a_meter_in_its_thread(running):
    with Exporter(watts) as exporter:
        meter = running(meter_of(exporter.url, window_s=10.0, every_s=0.1))
        until(lambda: meter.describe()["state"] == "ok")
        until(lambda: len(exporter.asked) > 8)
        readings = meter.read()
    measured = [r for r in readings if r.power_mw is not None]
    assert measured
    assert {r.reason for r in readings if r.power_mw is None} == {"ipmi: still measuring how often it refreshes"}
    assert [r.power_mw for r in measured] == sorted({r.power_mw for r in measured})
    described = meter.describe()
    assert described["update_period_s"] >= 0.09
    assert described["urls"] == [exporter.url]
    assert "Accept: text/plain" in exporter.asked[0]


def test_an_exporter_that_refreshes_too_slowly_gives_nothing(running):
    with Exporter(lambda n, _: DCGM) as exporter:
        meter = running(meter_of(exporter.url, exporter="dcgm", window_s=2.0))
        until(lambda: meter.describe()["state"] == "failed")
        readings = until(meter.read)
    warning = meter.describe()["warning"]
    assert f"dcgm: {exporter.url} did not change in 0.4 s, and a window of 2 s needs" in warning
    assert "--collect-interval=1000" in warning
    assert all(r.power_mw is None and r.energy_uj is None for r in readings)
    assert meter.news()
    assert not meter.news()


def test_mig_is_flagged():
    with Exporter(lambda n, _: MIG) as exporter:
        meter = meter_of(exporter.url, exporter="dcgm")
        meter.targets[0].scrape()
    assert meter.describe()["mig"] == {"GPU-a": ["3", "4", "5"]}
    assert sorted(r.power_mw for r in meter.read()) == [52_746, 60_000]


def test_two_pages_are_one_meter_and_fail_alone():
    with Exporter(lambda n, path: watts(n) if "pdu-a" in path else FAULTS["500"][0]) as exporter:
        urls = (f"{exporter.url}?target=pdu-a", f"{exporter.url}?target=pdu-b")
        meter = meter_of(*urls)
        for target in meter.targets:
            target.scrape()
    readings = meter.read()
    assert [(r.channel.device, r.power_mw is None) for r in readings] == [
        ("pdu-a:gpu-01", False),
        ("pdu-b:gpu-01", True),
    ]
    assert meter.describe()["state"] == "failed"


def test_a_node_takes_the_meters_that_are_its_own():
    source = MeterSource("ipmi", "ipmi", ("http://127.0.0.1:9/{node}",), node="gpu-*", every_s=30.0)
    sources = [source, dataclasses.replace(source, node="cpu-*"), dataclasses.replace(source, node="gpu-01")]
    own = dataclasses.replace(source, name="own", exporter="", mapping="metrics: 3", mapping_file="own.yaml")
    meters, warnings = discover_sources([*sources, own], "gpu-01", 60.0)
    for meter in meters:
        meter.stop()
    assert [m.describe()["urls"] for m in meters] == [["http://127.0.0.1:9/gpu-01"]]
    assert warnings == [
        "gpu-01 has two meters called 'ipmi', and the second is left out: rename it",
        "own.yaml:1:10: expected a metric, found 3",
    ]
