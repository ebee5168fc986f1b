"""Environments that users prepared."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from joulemark.agents.environments import installed_versions, use_environment
from joulemark.warehouse.errors import BadInput, MissingTool


def test_a_folder_and_an_executable_are_taken(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert use_environment(str(tmp_path)) == tmp_path / "bin" / "python"
    assert use_environment(sys.executable) == Path(sys.executable)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="gone: is not there; give a virtual environment's folder"):
        use_environment(str(tmp_path / "gone"))
    with pytest.raises(BadInput, match="has no bin/python"):
        use_environment(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="file: is not executable"):
        use_environment(str(tmp_path / "file"))


def test_versions_are_those_of_the_interpreter_asked() -> None:
    found = installed_versions(Path(sys.executable), ["numpy", "no-such-distribution"])
    assert found == {"numpy": version("numpy"), "python": ".".join(map(str, sys.version_info[:3]))}


def test_an_executable_that_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="/bin/true does not run as a Python interpreter"):
        installed_versions(Path("/bin/true"), ["numpy"])
    with pytest.raises(MissingTool, match="gone does not run"):
        installed_versions(tmp_path / "gone", [])
