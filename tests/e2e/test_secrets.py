"""Secrets of the environment reach nothing that a run writes, even where an engine prints all that it was given."""

import os
import shutil
from pathlib import Path

import pytest

from joulemark.agents.environments import ensure_environment
from joulemark.workloads.engines.catalogue import default_version, environment_set

pytestmark = pytest.mark.engine

PLANTED = {
    "HF_TOKEN": "hf_" + "plantedHere0123456789abcdef",
    "OPENAI_API_KEY": "planted-key-of-somebody",
    "MY_SITE_PASSWORD": "planted-password",
}
SWEEP = """
schema: 1
name: secrets
matrix: {{model: [tiny-dense, {broken}], quantization: q4_0, engine: llamacpp, concurrency: 1}}
workload: {{input_tokens: 32, output_tokens: 16, seed: 1}}
measure: {{repeats: 1, warmup: 0.5s, window: 2s}}
engines: {{llamacpp: {{environment: {talker}}}}}
"""


@pytest.fixture
def talker(home, tmp_path):
    """An interpreter that prints its whole environment before it becomes the engine."""
    real = ensure_environment(environment_set("llamacpp", default_version("llamacpp", True), True), home, print)
    path = tmp_path / "talker"
    path.write_text(f'#!/bin/sh\nenv\necho "last words with $OPENAI_API_KEY" >&2\nexec {real} "$@"\n')
    path.chmod(0o755)
    return path


def holding(folder, secret):
    """Files below a folder that hold a secret."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_planted_secrets_are_nowhere_in_what_a_run_writes(joulemark, talker, tmp_path, home):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 64)
    joulemark.environment |= PLANTED
    # Ray writes logs too; a short path, because it puts sockets there.
    ray_folder = Path("/tmp") / f"jm-ray-{os.getpid()}"  # noqa: S108 -- where such things lie on Linux
    joulemark.environment["RAY_TMPDIR"] = str(ray_folder)
    done = joulemark("run", joulemark.sweep(SWEEP.format(broken=broken, talker=talker)), code=1)
    outcomes = {r["model"]: r["outcome"] for r in joulemark.sql("select model, outcome from trials")}
    assert outcomes == {"tiny-dense": "done", "broken": "failed"}
    logs = list((joulemark.warehouse / "logs").glob("*.log"))
    assert len(logs) == 2
    assert all("HF_TOKEN=(hidden)" in log.read_text() for log in logs), "the engine did not print what it was given"
    for name, secret in PLANTED.items():
        assert secret not in done.stdout + done.stderr, name
        assert holding(joulemark.warehouse, secret) == [], name
        assert holding(home / "nodes", secret) == [], name
        assert holding(ray_folder, secret) == [], name
    assert all("last words with (hidden)" in log.read_text() for log in logs)
    assert any(path.suffix == ".log" for path in ray_folder.rglob("*")), "Ray wrote elsewhere"
    shutil.rmtree(ray_folder)
