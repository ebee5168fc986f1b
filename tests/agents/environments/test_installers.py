"""What is handed to uv and pip, and what becomes of their words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from joulemark.agents.environments import RequirementSet
from joulemark.agents.environments.installers import Pip, Uv, find_installer, find_links, has_torch
from joulemark.agents.environments.processes import condensed
from joulemark.warehouse.errors import MissingTool

CPU_SET = RequirementSet.parse(
    "tiny", "# size_mb: 1\n# python: >=3.11\n# import: tiny\n# torch-backend: cpu\ntorch==2.13.0\n"
)


class Recorded:
    """Takes commands, and makes the folder that the first of them would make."""

    def __init__(self, folder: Path) -> None:
        self.commands: list[list[str]] = []
        self._folder = folder

    def __call__(self, command: Sequence[str]) -> None:
        self._folder.mkdir(exist_ok=True)
        self.commands.append(list(command))


def test_uv_is_told_where_pip_finds_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} https://example.org/wheels")
    run = Recorded(tmp_path / "environment")
    Uv("uv").make(CPU_SET, tmp_path / "environment", run)
    install = run.commands[-1]
    links = [install[i + 1] for i, word in enumerate(install) if word == "--find-links"]
    assert links == [str(tmp_path), "https://example.org/wheels"]
    assert install[install.index("--torch-backend") + 1] == "cpu"
    assert "--compile-bytecode" in install


def test_a_local_torch_wheel_replaces_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    run = Recorded(tmp_path / "environment")
    Uv("uv").make(CPU_SET, tmp_path / "environment", run)
    assert "--torch-backend" not in run.commands[-1]


def test_another_torch_is_not_the_pinned_one(tmp_path: Path) -> None:
    (tmp_path / "torch-2.12.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert not has_torch(CPU_SET, [str(tmp_path)])
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert has_torch(CPU_SET, [f"file://{tmp_path}"])


def test_pip_cannot_find_a_cpu_torch_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(MissingTool, match=r"torch built for cpu.*pip install uv"):
        Pip().make(CPU_SET, tmp_path / "environment", Recorded(tmp_path / "environment"))


def test_settings_of_pip_reach_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nfind-links = /one /two\nindex-url = https://example.org/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    assert find_links() == ["/one", "/two"]
    run = Recorded(tmp_path / "environment")
    Uv("uv").make(CPU_SET, tmp_path / "environment", run)
    assert run.commands[-1][run.commands[-1].index("--default-index") + 1] == "https://example.org/simple"
    monkeypatch.setenv("PIP_FIND_LINKS", "/three")
    assert find_links() == ["/three"]


def test_an_old_uv_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "uv"
    old.write_text("#!/bin/sh\necho uv 0.4.0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert isinstance(find_installer(), Pip)
    old.write_text("#!/bin/sh\necho uv 9.0.0\n")
    assert find_installer() == Uv(str(old))


UV_SAYS = """Using Python 3.11.7 environment at: somewhere
Resolved 3 packages in 2ms
  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:
  \N{BOX DRAWINGS LIGHT ARC UP AND RIGHT}\N{BOX DRAWINGS LIGHT HORIZONTAL}\N{BLACK RIGHT-POINTING TRIANGLE} \
Because nothing was found and you require nothing,
      we can conclude that your requirements are unsatisfiable.
"""
PIP_SAYS = """Looking in links: /wheels
ERROR: Could not find a version that satisfies the requirement nothing (from versions: none)
ERROR: No matching distribution found for nothing
"""


def test_what_went_wrong_is_put_into_one_line() -> None:
    assert condensed(UV_SAYS) == (
        "No solution found when resolving dependencies: Because nothing was found and you require nothing, "
        "we can conclude that your requirements are unsatisfiable."
    )
    assert condensed(PIP_SAYS).startswith("ERROR: Could not find a version that satisfies the requirement nothing")
    assert condensed("one\ntwo\nthree\nfour\n") == "two three four"
    assert condensed("") == "the installer said nothing"
    assert len(condensed("error: " + "long " * 500)) < 450


PUT_TOGETHER = RequirementSet.parse(
    "tiny", "# size_mb: 1\n# python: >=3.11\n# import: tiny\n# override: a==1\n# no-deps: c==3 d==4\ntiny==1.0\n"
)


def test_uv_overrides_requirements_and_installs_others_alone(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "environment")
    Uv("uv").make(PUT_TOGETHER, tmp_path / "environment", run)
    _, first, second = run.commands
    overrides = Path(first[first.index("--overrides") + 1])
    assert overrides.read_text() == "a==1\n"
    assert {"c==3", "d==4", "--no-deps"} <= set(second)
    assert "--requirements" not in second
    assert "--compile-bytecode" in second


def test_pip_cannot_put_an_environment_together(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="put together in a way that pip cannot"):
        Pip().make(PUT_TOGETHER, tmp_path / "environment", Recorded(tmp_path / "environment"))
