"""Environments made on first use, once per node, and reused.

A folder counts only once its marker file is there, which is written last: what a crash leaves behind is made anew.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from pathlib import Path

from joulemark.agents.environments.installers import Installer, find_installer, interpreter_of
from joulemark.agents.environments.processes import Report, Runner, folder_bytes
from joulemark.agents.environments.sets import RequirementSet, load_set
from joulemark.agents.locks import exclusive
from joulemark.warehouse.errors import DiskFull
from joulemark.warehouse.schema.identity import content_id

MARKER = "joulemark-complete.json"


def ensure_environment(set_name: str, home: Path, report: Report) -> Path:
    """Return the interpreter of the environment of a shipped set, making it where it is missing.

    ``report`` receives progress lines. Raises BadInput where there is no such set, DiskFull, and MissingTool where
    the installation fails.
    """
    return ensure_set(load_set(set_name), home, report)


def ensure_set(wanted: RequirementSet, home: Path, report: Report, installer: Installer | None = None) -> Path:
    """Return the interpreter of the environment of ``wanted``; see ``ensure_environment``."""
    folder = environment_folder(wanted, home)
    if _complete(folder):
        return interpreter_of(folder)
    lock = folder.with_name(f"{folder.name}.lock")
    with exclusive(lock, lambda: report(f"waiting: another process installs {wanted.name}")) as descriptor:
        if not _complete(folder):
            runner = Runner(wanted.name, folder, folder.with_name(f"{folder.name}.log"), descriptor, report)
            _make(wanted, runner, installer or find_installer())
    return interpreter_of(folder)


def environment_folder(wanted: RequirementSet, home: Path) -> Path:
    """Return where the environment of ``wanted`` lies, or will, for the Python and machine that run this."""
    ours = wanted.holds_python(sys.version_info[:3])
    python = f"{sys.version_info[0]}.{sys.version_info[1]}" if ours else wanted.python
    recipe = {"recipe": wanted.recipe} if wanted.recipe else {}
    key = content_id({"text": wanted.text, "python": python, "machine": platform.machine(), **recipe})
    return home / "environments" / f"{wanted.name}-{key}"


def is_made(wanted: RequirementSet, home: Path) -> bool:
    """Return whether the environment of ``wanted`` is there."""
    return _complete(environment_folder(wanted, home))


def _complete(folder: Path) -> bool:
    # The interpreter is a link into a Python installation that may be gone.
    return (folder / MARKER).is_file() and interpreter_of(folder).exists()


def _make(wanted: RequirementSet, runner: Runner, installer: Installer) -> None:
    folder = runner.folder
    if folder.exists():
        runner.report(f"removing an unfinished environment of {wanted.name}")
        shutil.rmtree(folder)
    runner.log.unlink(missing_ok=True)
    _check_disk(wanted, folder.parent)
    runner.report(f"installing {wanted.name} ({wanted.size_mb} MB) with {installer.name}")
    began = time.monotonic()
    installer.make(wanted, folder, runner.run)
    if wanted.recipe:
        program = folder / "recipe.py"
        program.write_text(wanted.recipe, encoding="utf-8")
        runner.run([str(interpreter_of(folder)), str(program)])
    runner.run([str(interpreter_of(folder)), "-c", f"import {wanted.module}"])
    took_s, size_mb = time.monotonic() - began, folder_bytes(folder) / 1e6
    record = {"set": wanted.name, "installer": installer.name, "took_s": round(took_s, 1), "size_mb": round(size_mb)}
    (folder / MARKER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    runner.report(f"installed {wanted.name} ({size_mb:.0f} MB) in {took_s:.0f} s")


def _check_disk(wanted: RequirementSet, place: Path) -> None:
    free_mb = shutil.disk_usage(place).free / 1e6
    if free_mb < wanted.size_mb:
        raise DiskFull(
            f"{place} has {free_mb:.0f} MB free and {wanted.name} takes {wanted.size_mb} MB; free some, "
            "or set JOULEMARK_HOME to a folder on a larger disk"
        )
