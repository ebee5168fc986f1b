"""A GPU that falls off the bus while it is measured: the trial is invalid and says why, and is tried again."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "nvml_double"))
from nvml_double import Device, Double, NoCompiler, build
from test_endpoint import server as a_server
from truth import Constant

pytestmark = pytest.mark.engine
server = a_server

SWEEP = """
schema: 1
name: lost
matrix: {{model: tiny-dense, quantization: q4_0, engine: endpoint, accelerator: H100, concurrency: 2}}
workload: {{input_tokens: 32, output_tokens: 16, seed: 1}}
measure: {{repeats: 1, warmup: 0.5s, window: 5s}}
engines: {{endpoint: {{url: "{url}", devices: [0]}}}}
"""
REASONS = {"device_missing", "sample_gap", "edge_not_bracketed"}


def test_a_gpu_that_falls_off_the_bus_and_comes_back(joulemark, server, tmp_path):
    off = tmp_path / "off-the-bus"
    try:
        library = build(tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    boards = Double(tmp_path, library, [Device(Constant(300.0), lost_file=off), Device(Constant(80.0))])
    joulemark.environment |= boards.environment
    run = joulemark.start("run", joulemark.sweep(SWEEP.format(url=server[0])))
    deadline = time.monotonic() + 200
    while "measuring" not in run.log.read_text() and "tokens/s" not in run.log.read_text():
        assert run.poll() is None, run.log.read_text()
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.1)
    time.sleep(2)
    off.touch()
    time.sleep(3)
    off.unlink()
    assert run.wait(300) in (0, 1), run.log.read_text()
    assert "Traceback" not in run.log.read_text()
    rows = joulemark.sql(
        "select valid, reasons, energy_j, mean_w from trial_results where boundary = 'gpu' order by started_at"
    )
    broken = [r for r in rows if not r["valid"] and set(r["reasons"]) & REASONS]
    assert broken, rows
    whole = [r for r in rows if r["valid"]]
    assert whole, rows
    assert all(r["mean_w"] == pytest.approx(300.0, rel=0.02) for r in whole), "a gap was bridged, or counted as 0"
    gone = joulemark.sql(
        "select device, reason, count(*) as n from power where meter = 'nvml' and reason is not null group by all"
    )
    assert [(g["device"], g["reason"]) for g in gone] == [(boards.uuids[0], "nvml: GPU is lost")]
