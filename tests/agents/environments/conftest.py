"""A local package to install, with no dependency and no network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from joulemark.agents.environments import RequirementSet

MakeSet = Callable[..., RequirementSet]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels: ``tinypack`` needs ``tinyhelper`` and ``unwanted``, which cannot be imported."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    _wheel(folder, "tinypack", "import tinyhelper\n", needs=("tinyhelper", "unwanted"))
    _wheel(folder, "tinyhelper", "VALUE = 1\n")
    _wheel(folder, "unwanted", "raise ImportError('should not be here')\n")
    return folder


@pytest.fixture
def make_set(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSet:
    """Return a function that makes a set of ``requirements`` that only the folder of wheels can satisfy."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    def make(requirements: str = "tinypack==1.0", module: str = "tinypack", python: str = ">=3.11") -> RequirementSet:
        headers = f"# size_mb: 1\n# python: {python}\n# import: {module}\n# exclude: unwanted\n"
        return RequirementSet.parse("tiny-1.0", f"{headers}{requirements}\n")

    return make


def _wheel(folder: Path, name: str, source: str, needs: tuple[str, ...] = ()) -> None:
    info = f"{name}-1.0.dist-info"
    required = "".join(f"Requires-Dist: {other}\n" for other in needs)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{required}")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
