"""Engines that do not start, ports that are taken, disks that are full: what the agent says of it."""

import os
import socket
import sys
from pathlib import Path

import pytest

from joulemark.agents.engines import oom_killer
from joulemark.agents.engines.diagnose import SHOWN_LINES, diagnose
from joulemark.agents.engines.host import EngineHost
from joulemark.agents.engines.leftovers import marked
from joulemark.agents.engines.start_time import start_timeout_s
from joulemark.agents.spool.seal import seal
from joulemark.warehouse.errors import EngineError
from joulemark.warehouse.schema.traces import POWER
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.llamacpp import LlamaCpp

DEPLOYMENT = Deployment(ModelRef("m", "path", "/m.gguf"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel())
BIND = """
import socket, sys, time
print("loading")
port = int(sys.argv[sys.argv.index("--port") + 1])
try:
    socket.create_server(("127.0.0.1", port))
except OSError as error:
    sys.exit(f"{error}")
time.sleep(600)
"""


def program(folder, text):
    """Return an executable that takes the interpreter's place."""
    path = folder / "engine"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def failed_start(folder, interpreter, port=1):
    """Start an engine that must fail; return its error, after a look at what it left."""
    facts = StartFacts("/m.gguf", port, slots=1, context_tokens=64)
    with pytest.raises(EngineError) as caught:
        EngineHost.start(LlamaCpp(), DEPLOYMENT, facts, interpreter, folder, {}, lambda _: None)
    (log,) = (folder / "logs").glob("*.log")
    assert marked(log.stem) == []
    assert list((folder / "starts").glob("*.json")) == []
    assert "\n" not in str(caught.value)
    return caught.value, log


def test_an_engine_that_dies_while_it_starts_shows_its_last_lines_and_where_the_rest_is(tmp_path):
    text = "import os\nfor i in range(30): print('line', i, flush=True)\nos.kill(os.getpid(), 11)"
    error, log = failed_start(tmp_path, program(tmp_path, text))
    assert error.failure_class == "engine_crashed"
    assert "ended by signal 11 while it started; its last line: line 29" in str(error)
    assert f"logs/{log.name}" in str(error)
    assert error.log == tuple(f"line {i}" for i in range(30 - SHOWN_LINES, 30))


def test_what_the_kernel_killed_for_want_of_memory_is_said(tmp_path, monkeypatch):
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 12\noom_kill 3\n")
    monkeypatch.setattr(oom_killer, "VMSTAT", vmstat)
    text = f"import os\nopen({str(vmstat)!r}, 'w').write('oom_kill 4\\n')\nos.kill(os.getpid(), 9)"
    error, _ = failed_start(tmp_path, program(tmp_path, text))
    assert error.failure_class == "out_of_memory"
    assert "ended by signal 9 while it started; the kernel killed it for want of memory" in str(error)


def test_who_was_killed_for_another_reason_was_not(tmp_path, monkeypatch):
    (tmp_path / "vmstat").write_text("oom_kill 3\n")
    for known in (tmp_path / "vmstat", tmp_path / "none"):
        monkeypatch.setattr(oom_killer, "VMSTAT", known)
        place = tmp_path / known.name[:2]
        place.mkdir()
        error, _ = failed_start(place, program(place, "import os; os.kill(os.getpid(), 9)"))
        assert error.failure_class == "engine_failed"
    assert oom_killer.kills_so_far() is None


def test_an_engine_is_waited_for_as_long_as_its_weights_may_take(tmp_path):
    assert start_timeout_s(100.0, "org/model", None) == 100.0
    assert start_timeout_s(100.0, "org/model", 140e9) == 1500.0
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(bytes(3_000_000))
    (folder / "b.safetensors").write_bytes(bytes(2_000_000))
    # What is here is known better than what was reckoned.
    assert start_timeout_s(100.0, str(folder), 140e9) == pytest.approx(100.05)
    assert start_timeout_s(100.0, str(folder / "a.safetensors"), None) == pytest.approx(100.03)


def test_an_engine_that_is_not_ready_in_time(tmp_path):
    path = program(tmp_path, "import time; print('loading shard 3 of 9', flush=True); time.sleep(600)")
    facts = StartFacts("/m.gguf", 1, slots=1, context_tokens=64)
    with pytest.raises(EngineError, match=r"was not ready after 1 s; its last line: loading shard 3 of 9") as caught:
        EngineHost.start(LlamaCpp(), DEPLOYMENT, facts, path, tmp_path, {}, lambda _: None, timeout_s=1.0)
    assert caught.value.failure_class == "not_ready"


def test_an_engine_that_says_nothing(tmp_path):
    error, _ = failed_start(tmp_path, Path("/bin/true"))
    assert "ended with exit code 0 while it started; it wrote nothing" in str(error)
    assert error.log == ()


def test_a_port_that_is_taken_has_a_class_of_its_own(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        error, _ = failed_start(tmp_path, program(tmp_path, BIND), holder.getsockname()[1])
    assert error.failure_class == "port_taken"


def test_an_environment_without_the_engine_says_what_to_change(tmp_path):
    error, _ = failed_start(tmp_path, program(tmp_path, "import xllamacpp_that_is_not_there"))
    assert error.failure_class == "not_installed"
    assert "No module named 'xllamacpp_that_is_not_there'" in str(error)
    assert "environment:" in str(error)


def test_a_line_of_the_log_is_cut_to_a_length_that_can_be_shown():
    error = diagnose("it ended", ["x" * 5000], ())
    assert len(str(error)) < 400
    assert len(error.log[0]) <= 300


def test_an_empty_segment_of_a_full_disk_is_not_kept(tmp_path):
    segment = tmp_path / "power-x-1.open"
    segment.touch()
    assert seal(Warehouse.at(tmp_path / "warehouse"), POWER, segment, "power/n/x.parquet") is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_memory():
    """A control group with 64 MiB of memory: the file that takes a process into it."""
    root = Path("/sys/fs/cgroup")
    for place, limit in ((root / "memory", "memory.limit_in_bytes"), (root, "memory.max")):
        group = place / f"joulemark-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(64 << 20))
                yield group / "cgroup.procs"
                return
        finally:
            group.rmdir()
    pytest.skip("a control group for memory may not be made here")


def test_an_engine_that_outgrows_its_memory_is_killed_by_the_kernel_and_that_is_said(tmp_path, small_memory):
    text = f"import os\nopen({str(small_memory)!r}, 'w').write(str(os.getpid()))\nprint('loading', flush=True)\n"
    text += "held = [bytearray(b'x' * (1 << 20)) for _ in range(512)]"
    error, _ = failed_start(tmp_path, program(tmp_path, text))
    assert error.failure_class == "out_of_memory"
    assert "the kernel killed it for want of memory" in str(error)
