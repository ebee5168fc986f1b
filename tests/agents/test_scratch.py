"""Engines leave no temporary file and no shared memory, whoever is killed."""

import os
import signal
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from joulemark.agents.engines import scratch
from joulemark.agents.engines.leftovers import end_leftovers, marked
from joulemark.agents.engines.process import EngineProcess

LEAVES = """
import os, subprocess, sys, tempfile, time
from multiprocessing import resource_tracker, shared_memory
held = shared_memory.SharedMemory(create=True, size=4096)
# As libraries in C do: nothing in Python knows of it.
resource_tracker.unregister(held._name, "shared_memory")
open(tempfile.mktemp(), "w").write("left")
if sys.argv[1] == "parent":
    subprocess.Popen([sys.executable, "-c", open(os.environ["CODE"]).read(), "child"])
print(held.name, tempfile.gettempdir(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def engine(tmp_path):
    """An engine of two processes; each leaves a file and a piece of shared memory."""
    code = tmp_path / "code.py"
    code.write_text(LEAVES)
    argv = (sys.executable, "-c", LEAVES, "parent")
    process = EngineProcess.start(argv, {"CODE": str(code)}, tmp_path / "node", grace_s=1.0)
    process.said = [line.split() for line in said(process, lines=2)]
    yield process
    process.stop(0.0)


def said(process, lines):
    deadline = time.monotonic() + 30
    while len(found := process.log_tail()) < lines:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def gone(process):
    names, (folder, _) = [n for n, _ in process.said], [f for _, f in process.said]
    return not any((scratch.SHARED_MEMORY / name).exists() for name in names) and not os.path.exists(folder)


def test_each_start_has_a_folder_of_its_own_for_temporary_files(engine):
    (_, folder), (_, same) = engine.said
    assert folder == same
    assert engine.start_id in folder
    assert len(list(Path(folder).iterdir())) == 2
    assert Path(folder).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("noted", [True, False])
def test_a_stop_leaves_nothing(engine, noted):
    if noted:
        engine.note_shared_memory()
    engine.stop(grace_s=1.0)
    assert gone(engine)


def test_an_engine_that_is_killed_leaves_nothing(engine):
    engine.note_shared_memory()
    os.kill(engine.pid, signal.SIGKILL)
    assert engine.wait(30)
    engine.stop(grace_s=1.0)
    assert gone(engine)
    assert marked(engine.start_id) == []


def test_a_killed_keeper_leaves_nothing_once_the_engine_is_stopped(engine):
    engine.note_shared_memory()
    engine._keeper.kill()
    assert engine.wait(30)
    assert marked(engine.start_id), "the child of the main process outlives the keeper"
    engine.stop(grace_s=1.0)
    assert gone(engine)
    assert marked(engine.start_id) == []


def test_what_a_dead_agent_leaves_goes_with_the_next_one(engine, tmp_path):
    engine.note_shared_memory()
    engine._keeper.kill()
    assert engine.wait(30)
    assert end_leftovers(tmp_path / "node" / "starts")
    assert gone(engine)


def test_shared_memory_that_another_process_uses_stays():
    shared = SharedMemory(create=True, size=4096)
    try:
        name = shared.name.lstrip("/")
        assert name in scratch.shared_memory_of([os.getpid()])
        assert scratch.remove_shared_memory([name]) == []
        assert (scratch.SHARED_MEMORY / name).exists()
    finally:
        shared.close()
        shared.unlink()
    assert scratch.remove_shared_memory([name]) == []


def test_a_start_record_of_an_older_version_is_understood(tmp_path):
    (tmp_path / "abc.json").write_text('{"start": "abc", "keeper": 999999999, "since": 1.0}')
    assert end_leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_long_path_for_temporary_files_is_not_used(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(deep))
    made = scratch.make_scratch("abc")
    try:
        assert len(str(made)) < 40
    finally:
        scratch.remove_scratch(made)
    assert not made.exists()


def test_only_such_a_folder_is_ever_removed(tmp_path):
    scratch.remove_scratch(tmp_path)
    scratch.remove_scratch(None)
    assert tmp_path.exists()


def test_a_program_that_cannot_be_started_leaves_nothing(tmp_path):
    with pytest.raises(Exception, match="could not be started"):
        EngineProcess.start(("/no/such/program",), {}, tmp_path, 1.0, start_id="none0such0start")
    assert not list(Path(scratch.tempfile.gettempdir()).glob("jm-none0such0start*"))
