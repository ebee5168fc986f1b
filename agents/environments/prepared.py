"""Environments that somebody else prepared, and what is installed in any environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from joulemark.agents.environments.processes import child_environment
from joulemark.warehouse.errors import BadInput, MissingTool

_ASK_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
found["python"] = "%d.%d.%d" % sys.version_info[:3]
print(json.dumps(found))
"""


def use_environment(path: str) -> Path:
    """Return the interpreter (or other executable) of a prepared environment.

    ``path`` is a virtual environment's folder or the executable itself. Raises BadInput where it is neither.
    """
    place = Path(path).expanduser().absolute()
    interpreter = place / "bin" / "python" if place.is_dir() else place
    if interpreter.is_file() and os.access(interpreter, os.X_OK):
        return interpreter
    if place.is_dir():
        raise BadInput(f"environment {path}: has no bin/python; give a virtual environment's folder or an interpreter")
    what = "is not executable" if place.exists() else "is not there"
    raise BadInput(f"environment {path}: {what}; give a virtual environment's folder or an interpreter")


def installed_versions(interpreter: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the distributions ``names`` in the interpreter's environment, and its own as ``python``.

    Distributions that are not installed are absent. Raises MissingTool where the interpreter does not run.
    """
    command = [str(interpreter), "-c", _ASK_VERSIONS, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=child_environment())
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise MissingTool(f"{interpreter} does not run as a Python interpreter: {error}") from error
    return found
