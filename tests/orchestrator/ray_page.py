"""A real Ray with a page of metrics, for the tests that read it."""

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from joulemark.agents.http import free_port


def of_the_extra(requirement):
    marker = requirement.marker
    return marker and marker.evaluate({"extra": "default"}) and not marker.evaluate({"extra": ""})


def path():
    """Return the Python path with which Ray has its page of metrics: without what ray[default] adds it has none.

    Where that is not installed, it is brought into a folder beside, kept in the cache of the end-to-end tests.
    """
    own = os.environ.get("PYTHONPATH", "")
    if all(importlib.util.find_spec(name) for name in ("aiohttp_cors", "opencensus", "opentelemetry")):
        return own
    home = Path(os.environ.get("JOULEMARK_TEST_HOME") or Path.home() / ".cache" / "joulemark-tests")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    kept = home / f"ray-default-{importlib.metadata.version('ray')}-{python}"
    if not kept.exists():
        wanted = filter(of_the_extra, map(Requirement, importlib.metadata.requires("ray")))
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as work:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{work}/all"]
            command += [f"{r.name}{r.specifier}" for r in wanted]
            if subprocess.run(command, check=False).returncode:
                pytest.skip("what ray[default] adds is not here, and pip could not bring it")
            Path(work, "all").rename(kept)
    return os.pathsep.join(filter(None, (own, str(kept))))


@contextlib.contextmanager
def real_ray():
    """Start a process with a Ray that exports every metric, and yield the port of its page."""
    folder, chosen = tempfile.mkdtemp(prefix="jm", dir="/tmp"), free_port()
    command = [sys.executable, str(Path(__file__).with_name("exporting.py")), str(chosen), folder]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"PYTHONPATH": path()}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            yield chosen
        finally:
            process.stdin.close()
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)
