"""The next engine starts once the boards have their memory back, and is not started where they do not."""

import os
import sys
import threading
from pathlib import Path

import pytest

from joulemark.agents.engines import gpu_memory
from joulemark.agents.engines.gpu_memory import GpuMemory
from joulemark.warehouse.errors import EngineError

sys.path.insert(0, str(Path(__file__).parents[2] / "nvml_double"))
from nvml_double import Device

IDLE, FULL = 500 << 20, 70 << 30


@pytest.fixture
def board(tmp_path, playing):
    """A board whose memory in use is what the returned function was last given."""
    file = tmp_path / "used"

    def use(used):
        draft = tmp_path / "draft"
        draft.write_text(str(used))
        draft.replace(file)

    use(IDLE)
    pids = tmp_path / "pids"
    pids.touch()
    with playing(Device(memory_file=file, processes_file=pids)) as (double, _):
        use.uuids, use.pids = double.uuids, pids
        yield use


def test_a_first_start_waits_for_nothing(board):
    said = []
    board(FULL)
    GpuMemory().wait_returned(board.uuids, said.append)
    assert said == []


def test_memory_that_comes_back_is_waited_for(board):
    memory, said = GpuMemory(), []
    memory.wait_returned(board.uuids, said.append)
    board(FULL)

    def report(line):
        said.append(line)
        if len(said) == 2:
            threading.Thread(target=board, args=(IDLE + (10 << 20),)).start()

    memory.wait_returned(board.uuids, report)
    assert len(said) >= 2
    assert "69.5 GiB" in said[0]
    assert board.uuids[0] in said[0]


def test_memory_that_does_not_come_back_is_a_failure_that_names_who_has_it(board, monkeypatch):
    monkeypatch.setattr(gpu_memory, "PATIENCE_S", 0.5)
    memory = GpuMemory()
    memory.wait_returned(board.uuids, lambda _: None)
    board(FULL)
    board.pids.write_text(f"{os.getpid()}\n")
    with pytest.raises(EngineError, match=rf"still holds 69\.5 GiB more .* {os.getpid()} \(\w+.*end them") as caught:
        memory.wait_returned(board.uuids, lambda _: None)
    assert caught.value.failure_class == "device_busy"
    board.pids.write_text("")
    with pytest.raises(EngineError, match="no process is on it"):
        memory.wait_returned(board.uuids, lambda _: None)


def test_a_board_that_somebody_uses_is_waited_for_before_the_first_engine_too(board, monkeypatch):
    board.pids.write_text(f"{os.getpid()}\n")
    said = []

    def report(line):
        said.append(line)
        board.pids.write_text("")

    GpuMemory().wait_returned(board.uuids, report)
    assert f"nobody else uses {board.uuids[0]} ({os.getpid()} (" in said[0]
    monkeypatch.setattr(gpu_memory, "PATIENCE_S", 0.3)
    board.pids.write_text(f"{os.getpid()}\n")
    with pytest.raises(EngineError, match=rf"is used by others.* {os.getpid()} \(\w+.*end them") as caught:
        GpuMemory().wait_returned(board.uuids, lambda _: None)
    assert caught.value.failure_class == "device_busy"


def test_the_level_is_the_least_that_was_seen(board, monkeypatch):
    monkeypatch.setattr(gpu_memory, "PATIENCE_S", 0.5)
    memory = GpuMemory()
    board(FULL)
    memory.wait_returned(board.uuids, lambda _: None)
    board(IDLE)
    memory.wait_returned(board.uuids, lambda _: None)
    board(FULL)
    with pytest.raises(EngineError):
        memory.wait_returned(board.uuids, lambda _: None)


def test_a_mig_board_is_not_waited_for(tmp_path, playing, monkeypatch):
    monkeypatch.setattr(gpu_memory, "PATIENCE_S", 0.0)
    file = tmp_path / "used"
    file.write_text(str(IDLE))
    with playing(Device(memory_file=file, mig=2)) as (double, _):
        memory = GpuMemory()
        memory.wait_returned(double.uuids, lambda _: None)
        file.write_text(str(FULL))
        memory.wait_returned(double.uuids, lambda _: None)


def test_without_gpus_there_is_nothing_to_wait_for():
    GpuMemory().wait_returned(("cpu",), lambda _: None)
    GpuMemory().wait_returned(("GPU-of-another-machine",), lambda _: None)
