"""Prometheus' programs: those of the machine, or those of Debian's package, fetched but not installed."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from rendered import HOME

PACKAGE = "prometheus"
"""Of Debian. Installed it would start a service; what is in it is all that is needed."""


def program(name):
    """Return ``promtool`` or ``prometheus``; skips the test where neither the machine nor Debian has it."""
    if found := shutil.which(name):
        return found
    kept = HOME / "prometheus"
    if not kept.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            pytest.skip(f"{name} is not on this machine")
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME) as work:
            # apt leaves its privileges for a download, and must be able to write here.
            Path(work).chmod(0o755)
            fetched = subprocess.run(
                ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", PACKAGE],
                cwd=work,
                capture_output=True,
                text=True,
                check=False,
            )
            if fetched.returncode:
                pytest.skip(f"{name} is not on this machine, and apt-get cannot bring it: {fetched.stderr[-200:]}")
            (package,) = Path(work).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", package, f"{work}/all"], check=True)
            Path(work, "all", "usr", "bin").rename(kept)
    return str(kept / name)
