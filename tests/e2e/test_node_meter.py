"""A meter of the whole node, from the site file to a row of its own; one that is too slow is refused in words."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "agents" / "prometheus"))
from exporter import DCGM, IPMI, Exporter

pytestmark = pytest.mark.engine

SWEEP = """
schema: 1
name: node
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 2}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 1, warmup: 0.5s, window: 5s}
"""
SITE = "schema: 1\nname: hall\ncurrency: EUR\nmeters:\n"


def test_a_bmc_gives_the_node_a_row(joulemark):
    watts = random.Random(1)  # noqa: S311 -- a made-up load
    with (
        Exporter(lambda n, path: IPMI.replace("1874", f"{watts.uniform(90, 110):.3f}")) as bmc,
        Exporter(lambda n, path: DCGM) as slow,
    ):
        site = joulemark.folder / "site.yaml"
        site.write_text(
            f"{SITE}  - {{exporter: ipmi, url: '{bmc.url}'}}\n  - {{exporter: dcgm, url: '{slow.url}/{{node}}'}}\n"
        )
        done = joulemark("run", joulemark.sweep(SWEEP), "--site", site)
    assert "dcgm-exporter with --collect-interval=1000" in done.stderr
    rows = {r["boundary"]: r for r in joulemark.sql("from trial_results")}
    assert set(rows) == {"cpu", "node"}
    assert rows["node"]["fidelity"] == "metered"
    assert 90 < rows["node"]["mean_w"] < 110
    assert rows["node"]["reasons"] == ["client_on_node"]
    assert 90 < rows["node"]["loaded_idle_w"] < 110
    power = joulemark.sql("select distinct scope, fidelity, power_mw is null as gone from power where meter = 'ipmi'")
    assert {"scope": "node_ac", "fidelity": "metered", "gone": False} in power
    refused = joulemark.sql("select count(*) as n from power where meter = 'dcgm' and power_mw is not null")
    assert refused == [{"n": 0}]
    assert "/metrics/" in slow.asked[0]


def test_a_site_that_names_a_bad_mapping_ends_before_anything_starts(joulemark):
    (joulemark.folder / "own.yaml").write_text("metrics: [{metric: a, kind: gauge, scope: node, fidelity: metered}]\n")
    site = joulemark.folder / "site.yaml"
    site.write_text(f"{SITE}  - {{mapping: own.yaml, url: 'http://127.0.0.1:1/'}}\n")
    failed = joulemark("run", joulemark.sweep(SWEEP), "--site", site, code=2)
    assert "own.yaml:1:43: 'node' is no scope" in failed.stderr
    assert "\n" not in failed.stderr.strip()
    assert not joulemark.warehouse.exists()
