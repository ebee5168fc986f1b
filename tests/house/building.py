"""Packages built from copies of the project's files, as someone who releases it would build them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from house_tree import ROOT, sources

AS_IT_IS = -1
"""The umask of these tests."""


def run(
    *argv: object, folder: Path, umask: int = AS_IT_IS, codes: Sequence[int] = (0,), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program without what a development environment may set. Its code must be among ``codes``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JOULEMARK", "SOURCE_DATE_EPOCH"))}
    done = subprocess.run(
        [str(a) for a in argv],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        umask=umask,
    )
    assert done.returncode in codes, f"{argv} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def pip(*arguments: object, folder: Path, umask: int = AS_IT_IS) -> None:
    """Run pip of our own Python."""
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, folder=folder, umask=umask)


def copy_of_sources(tree: Path) -> Path:
    """Copy the tracked files into ``tree`` and return it: what is not tracked must not be needed."""
    for path in sources():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tree / path, follow_symlinks=False)
    return tree


def make_wheel(source: Path, target: Path, umask: int = AS_IT_IS) -> Path:
    """Build a wheel of a tree or an sdist into the folder ``target``, absent yet, and return it."""
    pip("wheel", "--no-deps", "-w", target, source, folder=target.parent, umask=umask)
    (wheel,) = target.glob("*.whl")
    return wheel


def make_backend(tree: Path, folder: Path) -> Path:
    """Install the build backend into a folder and return it, as build isolation would."""
    system = tomllib.loads((tree / "pyproject.toml").read_text())["build-system"]
    pip("install", "--no-warn-conflicts", "--target", folder / "backend", *system["requires"], folder=folder)
    return folder / "backend"


def make_sdist(tree: Path, target: Path, backend: Path, umask: int = AS_IT_IS) -> Path:
    """Make an sdist into the folder ``target``, absent yet, and return it. pip makes none: ask the build backend."""
    target.mkdir()
    name = tomllib.loads((tree / "pyproject.toml").read_text())["build-system"]["build-backend"]
    code = f"import {name} as backend; backend.build_sdist({str(target)!r})"
    run(sys.executable, "-c", code, folder=tree, umask=umask, PYTHONPATH=str(backend))
    (sdist,) = target.glob("*.tar.gz")
    return sdist
