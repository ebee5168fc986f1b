"""The simulated engine under the engine host: started, ended and diagnosed like any other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from joulemark.agents.engines.host import EngineHost, StartError
from joulemark.agents.http import free_port
from joulemark.agents.simulation.gpu_file import GpuFile, gpu_path
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.simulated import GPUS_VARIABLE, Simulated


@pytest.fixture
def start(tmp_path):
    hosts = []

    def begin(timeout_s=30.0, **args):
        reference = ModelRef("qwen3-0.6b", "hub", "x")
        engine = EngineRef("simulated", "1", args)
        deployment = Deployment(reference, "bf16", "auto", engine, "H100", Parallel())
        gpu = GpuFile.make(gpu_path(tmp_path, "H100", 0), 70.0)
        facts = StartFacts("qwen3-0.6b", free_port(), 4, 100, api_key="the-key")
        variables = {GPUS_VARIABLE: str(gpu.path)}
        hosts.append(
            EngineHost.start(
                Simulated(), deployment, facts, Path(sys.executable), tmp_path, variables, lambda _: None, timeout_s
            )
        )
        return hosts[-1], gpu

    yield begin
    for host in hosts:
        host.stop()


def test_it_is_recorded_with_its_whole_model_and_without_its_key(start):
    host, gpu = start()
    assert host.record.reported["model"] == "qwen3-0.6b"
    assert '"memory_bytes_per_s"' in " ".join(host.record.argv)
    assert "the-key" not in str(host.record)
    assert gpu.read().pid
    assert "simulated:running 0" in host.metrics()
    host.stop()
    assert gpu.read().pid == 0


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("CUDA out of memory", "out_of_memory"),
        ("Address already in use", "port_taken"),
        ("it does not want to", "engine_failed"),
    ],
)
def test_a_start_that_fails_is_classed_by_its_last_line(start, line, failure):
    with pytest.raises(StartError) as error:
        start(fail_start=line)
    assert error.value.failure_class == failure
    assert line in str(error.value)


def test_a_start_that_takes_too_long(start):
    with pytest.raises(StartError) as error:
        start(timeout_s=0.5, start_s=600)
    assert error.value.failure_class == "not_ready"
