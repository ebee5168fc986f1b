"""The Slurm script on one real node: Ray and the sweep are real, srun and scontrol are stand-ins."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "k8s" / "slurm" / "sweep.sbatch"
SWEEP = """
schema: 1
name: slurm
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 1}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 1, warmup: 0.5s, window: 2s}
"""
SRUN = """#!/bin/bash
# Runs the command here: options and their values come first.
while [[ $1 == -* ]]; do if [[ $1 == -w ]]; then shift; fi; shift; done
exec "$@"
"""


@pytest.fixture
def ray_folder():
    """A folder for Ray's sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="jm-", ignore_cleanup_errors=True) as folder:
        yield folder


def script(folder, *arguments, **variables):
    (folder / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", f"#!/bin/sh\necho {socket.gethostname()}\n")):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "here",
        **variables,
    }
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_it_says_what_it_needs(tmp_path):
    done = script(tmp_path)
    assert done.returncode == 2
    assert "usage: sbatch" in done.stderr


@pytest.mark.engine
def test_the_job_ends_as_its_sweep_does(tmp_path, ray_folder):
    home = os.environ.get("JOULEMARK_TEST_HOME") or Path.home() / ".cache" / "joulemark-tests"
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    warehouse = tmp_path / "records"
    done = script(
        tmp_path, "sweep.yaml", JOULEMARK_WAREHOUSE=str(warehouse), JOULEMARK_HOME=str(home), RAY_TMPDIR=ray_folder
    )
    trials = list((warehouse / "trials").glob("*.json"))
    assert trials, done.stderr
    assert done.returncode in (0, 1), done.stderr
    assert "tiny-dense" in done.stdout
    left = subprocess.run(["pgrep", "-f", ray_folder], capture_output=True, text=True, check=False)
    assert left.stdout == ""
