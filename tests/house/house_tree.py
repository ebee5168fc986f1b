"""The project's files, as the tests of the house see them."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "agents", "workloads", "warehouse")
PACKAGE_INIT = ROOT / "src" / "joulemark" / "__init__.py"


def modules(package: str) -> list[Path]:
    """Return every Python file of one of the four packages."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} has no modules: is this the root of the project? {ROOT}"
    return found


def dotted(path: Path) -> str:
    """Return the import name of a module of ours."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("joulemark", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@functools.cache
def listed() -> tuple[Path, ...] | None:
    """Return the tracked files that are there, relative to the root; None where git does not know them."""
    try:
        names = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = [Path(name) for name in names.split("\0") if name]
    return tuple(name for name in found if (ROOT / name).is_symlink() or (ROOT / name).exists())


def tracked() -> tuple[Path, ...]:
    """Return the tracked files; skips the test where git does not know them."""
    names = listed()
    if names is None:
        pytest.skip("git does not say which files are tracked here")
    return names


def sources() -> tuple[Path, ...]:
    """Return the files that a package is built from: the tracked ones, or without git those of the source tree."""
    names = listed()
    if names is not None:
        return names
    folders = [ROOT / package for package in PACKAGES]
    below = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [*ROOT.glob("*"), *(ROOT / "src" / "joulemark").glob("*"), *below]
    kept = [path for path in found if (path.is_file() or path.is_symlink()) and "__pycache__" not in path.parts]
    return tuple(path.relative_to(ROOT) for path in kept)
