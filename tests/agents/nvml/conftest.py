"""The double of NVML's library, built once, and worlds for it to play."""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "nvml_double"))

from nvml_double import Double, NoCompiler, build

from joulemark.agents.meters.nvml import gpus as gpus_module
from joulemark.agents.meters.nvml.gpus import Gpus

AGE_S = 50


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _leaves_no_double():
    """Take the double from this process's environment, whoever put it there and in whatever order it was undone."""
    yield
    for name in ("NVML_DOUBLE", "NVML_DOUBLE_SPEED"):
        os.environ.pop(name, None)


@pytest.fixture
def world(library, tmp_path):
    """Make a world of devices; its time begins ``age_s`` seconds ago."""

    def make(*devices, age_s=AGE_S, **more):
        return Double(tmp_path, library, devices, epoch_ns=time.monotonic_ns() - round(age_s * 1e9), **more)

    return make


@pytest.fixture
def playing(world, monkeypatch):
    """Have this process see the GPUs of a world; vanished ones are looked for without a pause."""
    monkeypatch.setattr(gpus_module, "RETRY_S", (0.0, 0.0))
    monkeypatch.setattr(gpus_module.Gpu, "_pause_s", 0.0)

    @contextmanager
    def play(*devices, pci=None, **more):
        double = world(*devices, **more)
        with double.in_this_process():
            gpus = Gpus.found() if pci is None else Gpus.found(pci)
            assert gpus is not None
            try:
                yield double, gpus
            finally:
                gpus.close()

    return play
