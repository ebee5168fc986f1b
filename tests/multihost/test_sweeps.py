"""A sweep over several hosts: every host works, traces come home whole, clocks are compared, drivers do not collide.

Real Ray and real engines in network namespaces; needs root and iproute2.
"""

import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ray_hosts import clock_ahead, nothing_left

from joulemark.warehouse.schema.datasets import DATASETS
from joulemark.warehouse.schema.trial import Trace
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import differs, digest, read_rows
from joulemark.warehouse.store.whose import id_of

pytestmark = pytest.mark.engine

SWEEP = """
schema: 1
name: NAME
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 1}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 1, starts: 6, warmup: 0.5s, window: 2s}
"""
WANTED = 6
AHEAD_S = 3.0


def complete(cluster, name, *, runs=3, more=(), **options):
    """Run a sweep until all its trials are valid, as a user on a busy machine would: the same command again."""
    said = []
    for _ in range(runs):
        sweep = cluster.network.base / f"{name}.yaml"
        options = {"records": cluster.records_of(name), **options}
        run = cluster.joulemark("run", sweep, "--cluster", cluster.address, *more, **options)
        code = run.wait(400)
        said.append(run.text())
        assert code in (0, 1), said[-1]
        assert "Traceback" not in said[-1], said[-1]
        if code == 0:
            return said
    pytest.fail("not complete:\n" + "\n".join(said))
    return said


def check_records(records):
    """Check that every trace is what its manifest says, and return the manifests."""
    manifests = [json.loads(p.read_text()) for p in (Path(records) / "trials").glob("*.json")]
    done = [m for m in manifests if m["outcome"] == "done"]
    assert done
    warehouse = Warehouse.at(records)
    for manifest in done:
        assert manifest["traces"]
        for trace in manifest["traces"]:
            dataset = DATASETS[trace["dataset"]]
            found = digest(dataset, trace["path"], read_rows(warehouse, dataset, trace["path"]))
            assert differs(Trace(**trace), found) is None
    return manifests


def valid(cluster, name):
    """Return how often each trial is valid."""
    return cluster.sql("select cell, start, repeat, count(*) as n from trial_results where valid group by all", name)


def test_a_sweep_over_hosts_that_share_the_warehouse(cluster):
    cluster.sweep(SWEEP.replace("NAME", "shared"), "shared")
    said = complete(cluster, "shared")
    manifests = check_records(cluster.records_of("shared"))
    assert [v["n"] for v in valid(cluster, "shared")] == [1] * WANTED
    assert len({m["nodes"][0]["node"] for m in manifests}) >= 2, said
    nothing_left(cluster.hosts)


def test_a_warehouse_that_only_the_driver_sees_and_a_clock_that_is_off(cluster):
    """Traces come through the driver; the clock of one host is three seconds ahead, and the records know."""
    ahead = cluster.hosts[2]
    driver = cluster.hosts[1]
    seen_by_driver = driver.folder / "hidden" / "records"
    cluster.sweep(SWEEP.replace("NAME", "hidden"), "hidden")
    with clock_ahead(ahead, AHEAD_S):
        said = complete(cluster, "hidden", records=cluster.hidden / "records")
    records = cluster.records_of("hidden")
    shutil.copytree(seen_by_driver, records)
    manifests = check_records(records)
    assert [v["n"] for v in valid(cluster, "hidden")] == [1] * WANTED
    used = {m["nodes"][0]["node"] for m in manifests}
    assert len(used) >= 2, said
    assert any("+3.0 s off" in text for text in said)
    rows = [r for f in records.glob("clocks/*/*.parquet") for r in pq.read_table(f).to_pylist()]
    assert used <= {r["node"] for r in rows}
    for row in rows:
        true_us = -AHEAD_S * 1e6 if row["node"] == ahead.name else 0
        # Anchors are each chosen within some microseconds.
        assert abs(row["offset_us"] - true_us) <= row["uncertainty_us"] + 200
        assert row["reference"] == driver.name
    for host in cluster.hosts:
        outboxes = (host.folder / "home" / "nodes").glob(f"*/outbox/{id_of(Warehouse.at(records))}/**/*")
        left = [p for p in outboxes if p.is_file()]
        assert left == [], f"{host.name} keeps what came home"
    nothing_left(cluster.hosts)


def test_a_second_driver_says_so_and_follows_the_first(cluster):
    sweep = cluster.sweep(SWEEP.replace("NAME", "twice"), "twice")
    records = cluster.records_of("twice")
    first = cluster.joulemark("run", sweep, "--cluster", cluster.address, records=records)
    first.said("tokens/s")
    second = cluster.joulemark("run", sweep, "--cluster", cluster.address, host=cluster.hosts[2], records=records)
    second.said("runs it already; following")
    code = first.wait()
    assert code in (0, 1), first.text()
    assert second.wait(60) == code, second.text()
    assert "process" in second.text()
    assert "of 6" in second.text()
    assert {v["n"] for v in valid(cluster, "twice")} == {1}
    assert not list(records.glob("trials/*-dup*"))
    nothing_left(cluster.hosts)
