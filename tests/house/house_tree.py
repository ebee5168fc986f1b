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
def tracked() -> tuple[Path, ...]:
    """Return the tracked files that are there, relative to the root; skips the test where git does not know them."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git does not say which files are tracked: {error}")
    names = [Path(name) for name in listed.split("\0") if name]
    return tuple(name for name in names if (ROOT / name).is_symlink() or (ROOT / name).exists())
