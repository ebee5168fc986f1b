"""A load client on a host of its own: then the engine's host, as its plug sees it, has a figure that counts."""

import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ray_hosts import clock_ahead, nothing_left
from test_faults import long_one
from test_sweeps import check_records, complete, valid

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SWEEP = """
schema: 1
name: NAME
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 2}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, starts: 2, warmup: 0.5s, window: 4s, client: apart}
"""
WANTED = 4
PORT = 9290
PLUG = """
import http.server, random, sys
class Plug(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ipmi_dcmi_power_consumption_watts %.3f\\n" % random.uniform(90, 110))
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Plug).serve_forever()
"""
"""A BMC's exporter, as each host has one."""
AHEAD_S = 3.0


@pytest.fixture
def site(cluster):
    """A site file whose client is the last host, and whose hosts have a BMC."""
    plugs = []
    for host in cluster.hosts:
        host.run("ip", "link", "set", "lo", "up")
        plugs.append(host.start(sys.executable, "-c", PLUG, str(PORT)))
    path = cluster.network.base / "site.yaml"
    path.write_text(
        f"schema: 1\nname: hall\ncurrency: EUR\nclients: [{cluster.hosts[3].name}]\n"
        f"meters:\n  - {{exporter: ipmi, url: 'http://127.0.0.1:{PORT}'}}\n"
    )
    yield path
    for plug in plugs:
        plug.signal(9)


@pytest.fixture
def a_clock_that_is_off(cluster):
    """The client's host is seconds ahead of the others."""
    with clock_ahead(cluster.hosts[3], AHEAD_S):
        yield


def test_the_whole_node_counts_and_tokens_are_on_the_engines_clock(cluster, site, a_clock_that_is_off):
    client = cluster.hosts[3].name
    cluster.sweep(SWEEP.replace("NAME", "apart"), "apart")
    said = complete(cluster, "apart", more=("--site", site))
    manifests = check_records(cluster.records_of("apart"))
    rows = cluster.sql("from trial_results where valid order by boundary, trial", "apart")
    assert sorted({r["boundary"] for r in rows}) == ["cpu", "node"], said[-1]
    whole = [r for r in rows if r["boundary"] == "node"]
    assert len(whole) == WANTED
    assert all(90 < r["mean_w"] < 110 and r["reasons"] == [] for r in whole)
    assert {v["n"] for v in valid(cluster, "apart")} == {2}, "once in each boundary"
    for manifest in (m for m in manifests if m["outcome"] == "done"):
        (part,), apart = manifest["nodes"], manifest["client"]["apart"]
        assert part["node"] != client
        assert apart["node"] == client
        assert abs(apart["shift_us"] + AHEAD_S * 1e6) <= apart["clock_us"] + 200
        requests = pq.read_table(cluster.records_of("apart") / "requests" / f"{manifest['trial']}.parquet").to_pylist()
        assert {r["node"] for r in requests} == {client}
        ended_us = [int(r["ended_at"].timestamp() * 1e6) for r in requests if r["status"] == "ok"]
        inside = [t for t in ended_us if part["window"]["start_us"] <= t < part["window"]["end_us"]]
        assert len(inside) == manifest["client"]["completed"] > 0
        listens = manifest["engine"]["argv"][manifest["engine"]["argv"].index("--host") + 1]
        assert listens in {h.address for h in cluster.hosts[:3]}
    found = cluster.sql("select distinct client, client_node from trials where outcome = 'done'", "apart")
    assert found == [{"client": "apart", "client_node": client}]
    assert any(f"{client}: carrying loads" in text for text in said)
    nothing_left(cluster.hosts)


@long_one
def test_a_client_that_is_lost_costs_the_trial_and_no_more(cluster, site):
    cluster.sweep(SWEEP.replace("NAME", "lost-client"), "lost-client")
    records = cluster.records_of("lost-client")
    sweep = cluster.network.base / "lost-client.yaml"
    driver = cluster.joulemark("run", sweep, "--cluster", cluster.address, "--site", site, records=records)
    driver.said("carrying loads", 200)
    time.sleep(1)
    agent = next(p for p in cluster.raylets[cluster.hosts[3].name].tree() if "_AgentActor" in " ".join(p.cmdline()))
    agent.kill()
    driver.said(f"the agent on {cluster.hosts[3].name} was lost", 120)
    assert driver.wait(400) in (0, 1), driver.text()
    done = [m for m in check_records(records) if m["outcome"] == "done"]
    assert len(done) >= WANTED, "the run ended with the client"
    complete(cluster, "lost-client", more=("--site", site))
    check_records(records)
    assert [v["n"] for v in valid(cluster, "lost-client")] == [2] * WANTED
    nothing_left(cluster.hosts)
