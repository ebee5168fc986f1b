"""Each Python that is said to be supported installs the wheel and measures with it.

    JOULEMARK_TEST_PYTHONS=1 pytest tests/house/test_pythons.py

It brings joulemark's dependencies (some 300 MB for each Python, unless uv has them) into an environment of its own for
each Python of this machine; without the variable only what is said is compared. ``JOULEMARK_TEST_PYTHONS=3.14`` tries
the Pythons that it names instead of those that are supported.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from building import copy_of_sources, make_wheel, run
from house_tree import ROOT

from joulemark.agents.environments.installers import pip_settings
from joulemark.agents.machine import VARIABLE

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUPPORTED = tuple(re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE))
ASKED = os.environ.get("JOULEMARK_TEST_PYTHONS", "")
TRIED = tuple(ASKED.split(",")) if "." in ASKED else SUPPORTED
SWEEP = """
schema: 1
name: pythons
matrix:
  model: llama-3.1-8b
  engine: simulated
  accelerator: H100
  concurrency: [1, 4]
workload: {input_tokens: 64, output_tokens: 16}
measure: {repeats: 1, warmup: 1s, window: 2s}
"""
LOAD_ALL = """
import importlib, pkgutil, joulemark
names = [m.name for m in pkgutil.walk_packages(joulemark.__path__, "joulemark.")]
names = [n for n in names if not n.endswith((".__main__", ".llamacpp_server"))]
print(len([importlib.import_module(n) for n in names]), joulemark.__file__)
"""
SOME_FAILED = 1
ATTEMPTS_AT_MOST = 8


def test_what_is_said_about_pythons_agrees():
    first = SUPPORTED[0]
    assert [f"3.{11 + n}" for n in range(len(SUPPORTED))] == list(SUPPORTED), "none is left out"
    assert PROJECT["requires-python"] == f">={first}"
    for page in ("README.md", "docs/gpu-cluster.md"):
        assert re.findall(r"Python (3\.\d+) or newer", (ROOT / page).read_text()) == [first], page
    assert f'target-version = "py{first.replace(".", "")}"' in (ROOT / "ruff.toml").read_text()
    image = re.search(r"ARG BASE=python:(3\.\d+)\.", (ROOT / "k8s" / "images" / "Dockerfile").read_text())
    assert image[1] in SUPPORTED
    said = re.search(r"ran on Python ([\d., and]+)", (ROOT / "docs" / "contributing.md").read_text())
    assert tuple(re.findall(r"3\.\d+", said[1])) == SUPPORTED


def uv():
    """Return the uv of this environment, which joulemark brings along, or of the path."""
    found = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    assert found, "joulemark depends on uv"
    return found


def interpreter(version):
    """Return an interpreter of a version: on the path, where uv looks, or where pyenv keeps them. None without one."""
    asked = [uv(), "python", "find", "--no-project", "--no-python-downloads", version]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for program in (shutil.which(f"python{version}"), found.stdout.strip(), *pyenv.glob(f"{version}.*/bin/python")):
        # One on the path may be a shim that leads nowhere.
        if program and version_of(program) == version:
            return program
    return None


def version_of(program):
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if not ASKED:
        pytest.skip("set JOULEMARK_TEST_PYTHONS=1 to install and run the wheel with each Python of this machine")
    folder = tmp_path_factory.mktemp("wheel")
    return make_wheel(copy_of_sources(folder / "tree"), folder / "made")


@pytest.fixture(scope="module", params=TRIED)
def environment(wheel, request, tmp_path_factory):
    """An environment of a Python with the wheel and what it depends on, and nothing else."""
    if (program := interpreter(request.param)) is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    tmp_path, settings = tmp_path_factory.mktemp("python"), pip_settings()
    folder = tmp_path / "environment"
    run(uv(), "venv", "--no-project", "--no-python-downloads", "--python", program, folder, folder=tmp_path)
    # uv knows pip's certificate and index only when it is told.
    index = ("--default-index", settings["index-url"]) if "index-url" in settings else ()
    told = {"SSL_CERT_FILE": settings["cert"]} if "cert" in settings and "SSL_CERT_FILE" not in os.environ else {}
    run(uv(), "pip", "install", "--python", folder / "bin" / "python", *index, wheel, folder=tmp_path, **told)
    assert version_of(folder / "bin" / "python") == request.param
    return folder


@pytest.mark.timeout(1800)
def test_the_wheel_measures(environment, tmp_path):
    own = {"JOULEMARK_HOME": str(tmp_path / "home"), "JOULEMARK_WAREHOUSE": str(tmp_path / "records")}
    own[VARIABLE] = os.environ[VARIABLE]

    def joulemark(*arguments, codes=(0,)):
        return run(environment / "bin" / "joulemark", *arguments, folder=tmp_path, codes=codes, **own)

    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP)
    while joulemark("run", sweep, codes=(0, SOME_FAILED)).returncode:
        # A machine that is busy: as its user would, the same command again.
        attempts = json.loads(joulemark("sql", "select reasons, error from trials", "--json").stdout)
        assert len(attempts) < ATTEMPTS_AT_MOST, attempts
    rows = json.loads(joulemark("sql", "from leaderboard select concurrency, fidelity, j_per_token", "--json").stdout)
    assert {(r["concurrency"], r["fidelity"]) for r in rows} == {(1, "simulated"), (4, "simulated")}
    assert all(r["j_per_token"] > 0 for r in rows)
    assert "produced by the simulator" in joulemark("leaderboard").stdout


def test_every_module_can_be_loaded(environment, tmp_path):
    """Also those that a simulated sweep does not need."""
    number, where = run(environment / "bin" / "python", "-P", "-c", LOAD_ALL, folder=tmp_path).stdout.split()
    assert int(number) > 100
    assert Path(where).is_relative_to(environment)
