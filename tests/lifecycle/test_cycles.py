"""Start/stop cycles leave nothing behind, whichever way an engine ends.

A few with llama.cpp, always. Fifty with llama.cpp and vLLM's CPU build (about 45 minutes), or with SGLang:

    JOULEMARK_TEST_CYCLES=50 JOULEMARK_TEST_ENGINES=llamacpp,vllm pytest tests/lifecycle
"""

import json
import os
import subprocess
import sys
import tempfile
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cycles import WAYS
from inventory import Inventory, inside

from joulemark.agents.environments import ensure_environment
from joulemark.workloads.engines.catalogue import default_version, environment_set

ENGINES = os.environ.get("JOULEMARK_TEST_ENGINES", "llamacpp").split(",")
CYCLES = int(os.environ.get("JOULEMARK_TEST_CYCLES", len(WAYS)))


@pytest.fixture(scope="session")
def home():
    given = os.environ.get("JOULEMARK_TEST_HOME")
    return Path(given) if given else Path.home() / ".cache" / "joulemark-tests"


@pytest.mark.engine
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_left_behind(engine, home, tmp_path):
    # Inside there is no network to install anything from.
    ensure_environment(environment_set(engine, default_version(engine, on_cpu=True), on_cpu=True), home, print)
    program = [sys.executable, str(Path(__file__).with_name("cycles.py")), engine, str(CYCLES)]
    done = inside([*program, str(home), str(tmp_path / "node")], dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    cycles = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cycles) == CYCLES
    assert len({c["start"] for c in cycles}) == CYCLES
    for cycle in cycles:
        assert cycle["left"] == {}, f"after {cycle['way']}, cycle {cycle['cycle']}"
        assert cycle["records"] == []


def test_what_is_left_would_be_seen(tmp_path):
    before = Inventory.now()
    memory = SharedMemory(create=True, size=4096)
    folder = Path(tempfile.mkdtemp(prefix="left-behind-"))
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as left:
        port = int(left.stdout.readline())
        try:
            found = Inventory.now().new_since(before)
        finally:
            left.communicate(b"\n")
            memory.close()
            memory.unlink()
            folder.rmdir()
    assert left.pid in {pid for pid, *_ in found["processes"]}
    assert port in found["ports"]
    assert memory.name.lstrip("/") in found["shared_memory"]
    assert str(folder) in found["temporary"]


def test_name_spaces_hide_what_others_do(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from inventory import Inventory; "
    code += "print(len(Inventory.now().processes))"
    done = inside([sys.executable, "-c", code], dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1
