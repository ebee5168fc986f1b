"""Chaos: nothing lost, nothing counted twice, no process left. A dozen trials always.

200 trials (half an hour):

JOULEMARK_TEST_CHAOS=200 pytest -s tests/multihost/test_chaos.py
"""

import json
import os
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chaos import Chaos, whole_again
from ray_hosts import nothing_left
from test_sweeps import check_records, valid

pytestmark = [pytest.mark.engine, pytest.mark.timeout(5400)]

TRIALS = int(os.environ.get("JOULEMARK_TEST_CHAOS", "12"))
SEED = int(os.environ.get("JOULEMARK_TEST_SEED", "7"))
STARTS = max(3, TRIALS // 24)
SWEEP = """
schema: 1
name: chaos
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: [1, 2]}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: REPEATS, starts: STARTS, warmup: 0.3s, window: 1s}
"""


def test_chaos(cluster):
    repeats = -(-TRIALS // (2 * STARTS))
    wanted = 2 * repeats * STARTS
    cluster.sweep(SWEEP.replace("REPEATS", str(repeats)).replace("STARTS", str(STARTS)), "chaos")
    chaos = Chaos(cluster, "chaos", SEED, faults=max(3, TRIALS // 6))
    said = chaos.run()
    whole_again(cluster)
    records = cluster.records_of("chaos")
    manifests = check_records(records)
    counts = valid(cluster, "chaos")
    assert [c["n"] for c in counts] == [1] * wanted, "\n".join(said)
    assert not [m for m in manifests if m["duplicate_of"]]
    assert len({m["trial"] for m in manifests}) == len(manifests)
    # Energy is of windows that do not overlap on one node's devices: nothing was measured twice at a time.
    spans = {}
    for m in manifests:
        part = m["nodes"][0]
        if part["window"] is not None:
            spans.setdefault(part["node"], []).append((part["window"]["start_us"], part["window"]["end_us"]))
    for node, windows in spans.items():
        windows.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(windows)), node
    nothing_left(cluster.hosts)
    summary = {
        "seed": SEED,
        "wanted": wanted,
        "attempts": len(manifests),
        "outcomes": Counter(m["failure_class"] or m["outcome"] for m in manifests),
        "nodes": Counter(m["nodes"][0]["node"] for m in manifests),
        "faults": chaos.done,
        "drivers": len(chaos.drivers),
    }
    print(json.dumps(summary))
