"""Tests that need a real NVIDIA GPU; elsewhere they are skipped. They change no setting of it."""

import pytest

from joulemark.agents.meters.nvml.gpus import Gpus
from joulemark.agents.meters.nvml.meter import NvmlMeter


@pytest.fixture(scope="session")
def meter():
    gpus = Gpus.found()
    if gpus is None:
        pytest.skip("no NVIDIA GPU on this machine")
    yield NvmlMeter.of(gpus)
    gpus.close()


@pytest.fixture(autouse=True)
def on_a_gpu(meter):
    """Skip every test of this folder where there is no GPU."""
