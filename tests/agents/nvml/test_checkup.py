"""A checkup of a node with GPUs: their meters with the period that was measured, and who uses them."""

import os
import sys
from pathlib import Path

import pytest

from joulemark.agents.checkup import check_up
from joulemark.agents.meters.nvml import api

sys.path.insert(0, str(Path(__file__).parents[2] / "nvml_double"))
from nvml_double import Device


def test_gpus_and_their_meters_are_seen_as_they_are(world, tmp_path):
    pids = tmp_path / "pids"
    pids.write_text(f"{os.getpid()}\n")
    double = world(Device(), Device(processes_file=pids))
    with double.in_this_process():
        seen = check_up("n1")
    assert tuple(seen.gpus) == double.uuids
    assert seen.meters["nvml"]["update_period_s"] == pytest.approx(0.1, rel=0.1)
    assert set(seen.gpu_users) == {double.uuids[1]}
    (used,) = (f for f in seen.findings if double.uuids[1] in f.what)
    assert f"{os.getpid()} (" in used.what
    assert used.fix == f"end them: kill {os.getpid()}"
    assert not any("no energy counter" in f.what for f in seen.findings)
    assert api._USE.users == 0, "the library was not let go of"
