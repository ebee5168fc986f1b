"""What pyproject.toml promises, and the one command that runs the tests."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from house_tree import ROOT

APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of the text as the Apache Software Foundation publishes it."""


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_licence(pyproject):
    assert pyproject["project"]["license"] == "Apache-2.0"
    assert pyproject["project"]["license-files"] == ["LICENSE"]
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_SHA256


def test_python_and_extras(pyproject):
    project = pyproject["project"]
    assert project["requires-python"] == ">=3.11"
    extras = project["optional-dependencies"]
    assert [r.split("==")[0] for r in extras["vllm"] + extras["sglang"]] == ["vllm", "sglang"]
    assert any(r.startswith("ray[default]") for r in extras["cluster"])
    assert not any(r.startswith("ray[") for r in project["dependencies"])


def test_engines_never_share_an_environment(pyproject):
    assert [{"extra": "vllm"}, {"extra": "sglang"}] in pyproject["tool"]["uv"]["conflicts"]
    assert not any(r.startswith(("vllm", "sglang")) for r in pyproject["project"]["dependencies"])


def test_extras_name_the_versions_that_joulemark_installs(pyproject):
    for engine in ("vllm", "sglang"):
        (pinned,) = pyproject["project"]["optional-dependencies"][engine]
        name = f"{engine}-{pinned.split('==')[1]}.txt"
        lines = (ROOT / "agents" / "environments" / "sets" / name).read_text().splitlines()
        assert any(line.replace(" ", "").startswith((f"{pinned}", f"{engine}[")) for line in lines)


def test_the_readme_holds_the_test_command_once():
    section = re.search(
        r"^## Run the tests$(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert section, "README.md has no section 'Run the tests'"
    commands = re.findall(r"^python3 -m venv .*pytest$", section[1], re.MULTILINE)
    assert commands == ['python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest']


def test_ci_runs_what_the_readme_says(tmp_path):
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_bytes((ROOT / ".ci" / "run").read_bytes())
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run is not executable"

    without = _ci(tmp_path)
    assert without.returncode != 0
    assert "README.md" in without.stderr

    folder = tmp_path / "environment"
    text = f"# x\n\n## Run the tests\n\n```sh\npython3 -m venv --without-pip {folder} && echo like pytest\n```\n"
    (tmp_path / "README.md").write_text(text)
    done = _ci(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "like pytest"
    assert (folder / "bin" / "python3").exists()

    (tmp_path / "README.md").write_text(text.replace("echo like", "false like"))
    assert _ci(tmp_path).returncode == 1


def _ci(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ".ci/run"], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
