"""An exporter through the real sampler process, into the Parquet files of a warehouse."""

import time

import pyarrow.parquet as pq
import pytest
from exporter import DCGM, IPMI, Exporter

from joulemark.agents.orders import AgentConfig
from joulemark.agents.power import PowerTrace
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.meters import MeterSource

DEADLINE_S = 60.0


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "home"))
    warehouse = Warehouse.at(tmp_path / "warehouse")
    running = []

    def begin(*sources, window_s=5.0):
        config = AgentConfig("gpu-01", warehouse.root, cpu_watts=(10.0, 50.0), meters=sources, window_s=window_s)
        trace = PowerTrace.start(config, tmp_path / "node", warehouse)
        running.append(trace)
        return trace

    yield begin, warehouse
    for trace in running:
        trace.close()


def rows_of(trace, warehouse, meter):
    trace.close()
    files = [name for name in warehouse.list("power") if name.endswith(".parquet")]
    rows = [r for name in files for r in pq.read_table(warehouse.path(name)).to_pylist()]
    assert any(r["meter"] == meter for r in rows), {r["meter"] for r in rows}
    return [r for r in rows if r["meter"] == meter], [r for r in rows if r["meter"] != meter]


def until(found):
    deadline = time.monotonic() + DEADLINE_S
    while not found():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_a_bmc_ends_in_rows_of_the_whole_node(start):
    begin, warehouse = start
    begun_us = time.time_ns() // 1000
    with Exporter(lambda n, path: IPMI.replace("1874", f"{1000 + n}.5")) as exporter:
        url = exporter.url.replace("/metrics", "/ipmi?target={node}-bmc")
        trace = begin(MeterSource("bmc", "ipmi", (url,), every_s=0.1))
        assert trace.sampler.wait_for_meters() == trace.sampler.warnings
        described = trace.sampler.meters["bmc"]
        asked = len(exporter.asked)
        until(lambda: len(exporter.asked) >= asked + 5)
        assert trace.sampler.settle_s >= described["update_period_s"]
        mine, others = rows_of(trace, warehouse, "bmc")
        assert "GET /ipmi?target=gpu-01-bmc HTTP/1.1" in exporter.asked[0]
    assert described["state"] == "ok"
    assert described["channels"] == [{"device": "gpu-01", "scope": "node_ac", "fidelity": "metered"}]
    assert {(r["node"], r["device"], r["scope"], r["fidelity"]) for r in mine} == {
        ("gpu-01", "gpu-01", "node_ac", "metered")
    }
    measured = [r for r in mine if r["power_mw"] is not None]
    assert len(measured) >= 5
    instants = [round(r["t"].timestamp() * 1e6) for r in measured]
    assert instants == sorted(set(instants))
    assert begun_us - 10_000_000 < instants[0] < instants[-1] < time.time_ns() // 1000 + 10_000_000
    assert [r["power_mw"] % 1000 for r in measured] == [500] * len(measured)
    assert [r["power_mw"] for r in measured] == sorted({r["power_mw"] for r in measured})
    assert all(r["energy_uj"] is None and r["reason"] is None for r in measured)
    assert {r["reason"] for r in mine if r["power_mw"] is None} <= {"bmc: still measuring how often it refreshes"}
    assert others, "the node's own meters went on"
    assert not any(r["meter"] == "bmc" for r in others)


def test_refused_and_hanging_exporters_are_warned_of_and_null_and_hold_nobody_up(start):
    begin, warehouse = start
    with Exporter(lambda n, _: DCGM) as slow, Exporter(lambda n, _: lambda c: time.sleep(30)) as hanging:
        trace = begin(
            MeterSource("slow", "dcgm", (slow.url,)),
            MeterSource("hanging", "ipmi", (hanging.url,), timeout_s=1.0),
            MeterSource("elsewhere", "ipmi", (hanging.url,), node="cpu-*"),
        )
        warnings = trace.sampler.wait_for_meters()
        until(lambda: len(hanging.asked) > 1)
        mine, others = rows_of(trace, warehouse, "slow")
    text = "\n".join(warnings)
    assert (
        f"slow: {slow.url} did not change in 1.0 s, and a window of 5 s needs a change every 1.0 s: start dcgm" in text
    )
    assert f"{hanging.url}: no answer in 1 s" in text
    assert all(r["power_mw"] is None and r["energy_uj"] is None and r["reason"] for r in mine)
    nulls = [r for r in others if r["meter"] == "hanging"]
    assert nulls
    assert {r["reason"] for r in nulls} == {f"{hanging.url}: no answer in 1 s"}
    assert {(r["device"], r["scope"]) for r in nulls} == {("gpu-01", "node_ac")}
    assert "elsewhere" not in {r["meter"] for r in others}
    own = [r for r in others if r["meter"] not in ("slow", "hanging")]
    assert len(own) > len(nulls)
