"""Engine trees end as trees, whoever dies first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from joulemark.agents.engines.keeper import _descendants as descendants
from joulemark.agents.engines.leftovers import end_leftovers, marked
from joulemark.agents.engines.process import EngineProcess
from joulemark.warehouse.errors import EngineError

TREE = """
import os, subprocess, sys, time, signal
if sys.argv[1] == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, '-c', child])
subprocess.Popen([sys.executable, '-c', child], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
print('ready', flush=True)
time.sleep(600)
"""


def start(folder, kind="polite"):
    process = EngineProcess.start((sys.executable, "-c", TREE, kind), {}, folder, grace_s=1.0)
    wait_for(lambda: len(marked(process.start_id)) >= 4 and "ready" in process.log.read_text())
    return process


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["polite", "stubborn"])
def test_stop_ends_the_whole_tree(tmp_path, kind):
    process = start(tmp_path, kind)
    process.stop(grace_s=1.0)
    assert not process.alive
    assert marked(process.start_id) == []
    assert list((tmp_path / "starts").iterdir()) == []
    assert process.end["asked"] is True


def test_a_killed_engine_takes_its_tree_along_and_says_so(tmp_path):
    process = start(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(30)
    assert process.how_it_ended() == "ended by signal 9"
    wait_for(lambda: marked(process.start_id) == [])
    process.stop(grace_s=1.0)


def test_an_engine_that_ends_by_itself_gives_its_exit_code_and_log(tmp_path):
    process = EngineProcess.start((sys.executable, "-c", "print('bye'); raise SystemExit(7)"), {}, tmp_path, 1.0)
    assert process.wait(30)
    assert process.how_it_ended() == "ended with exit code 7"
    assert process.log_tail() == ["bye"]
    process.stop(grace_s=1.0)


def test_a_program_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(EngineError, match="could not be started: /no/such/python"):
        EngineProcess.start(("/no/such/python",), {}, tmp_path, 1.0)
    assert list((tmp_path / "starts").iterdir()) == []


def test_the_tree_ends_when_the_agent_is_killed(tmp_path):
    code = f"""
import sys, time; sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from test_keeper import start
print(start(Path({str(tmp_path)!r}), 'stubborn').start_id, flush=True); time.sleep(600)
"""
    agent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    start_id = agent.stdout.readline().strip()
    assert len(marked(start_id)) >= 4
    agent.kill()
    agent.wait()
    wait_for(lambda: marked(start_id) == [])


def test_what_a_killed_keeper_leaves_is_ended_by_its_mark(tmp_path):
    process = start(tmp_path)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        process._keeper.kill()
        process._keeper.wait()
        # The kernel killed the main process with its keeper; its children are still there.
        wait_for(lambda: not psutil.pid_exists(process.pid) or psutil.Process(process.pid).status() == "zombie")
        assert marked(process.start_id)
        ended = end_leftovers(tmp_path / "starts")
        assert len(ended) >= 3
        assert marked(process.start_id) == []
        assert bystander.poll() is None
        assert end_leftovers(tmp_path / "starts") == []
    finally:
        bystander.kill()
        bystander.wait()


HALF_DEAD = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print('ready', flush=True)
ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)
"""
"""Its first thread ends by itself: a zombie that still holds all that the process had."""


def test_a_zombie_with_a_thread_left_is_not_over():
    with subprocess.Popen([sys.executable, "-c", HALF_DEAD], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
            assert child.pid in descendants(os.getpid())
        finally:
            child.kill()
        wait_for(lambda: child.pid not in descendants(os.getpid()))


LATE = """
import sys, time
from multiprocessing import get_context
print('ready', flush=True)
time.sleep(float(sys.argv[1]))
semaphore = get_context('spawn').Semaphore()
print(semaphore._semlock.name, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("who", ["engine", "keeper"])
def test_shared_memory_that_is_made_late_goes_with_its_maker(tmp_path, who):
    process = EngineProcess.start((sys.executable, "-c", LATE, "0.5"), {}, tmp_path, grace_s=1.0)
    wait_for(lambda: len(process.log.read_text().split()) == 2)
    made = Path("/dev/shm") / f"sem.{process.log.read_text().split()[1].lstrip('/')}"  # noqa: S108 -- where Linux keeps it
    assert made.exists()
    time.sleep(1)
    for tracker in psutil.Process(process.pid).children():
        # It would remove the semaphore of a maker that is gone.
        tracker.kill()
    os.kill(process.pid if who == "engine" else process._keeper.pid, signal.SIGKILL)
    process.stop(grace_s=1.0)
    assert not made.exists()
