"""The wheel's build: beside the Python files it puts the built page of the leaderboard into the wheel.

Without npm the wheel is made without them and the build says so; `joulemark publish` then says what to install. With
JOULEMARK_SITE=required in the environment, as for a release, that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PLACE = Path("joulemark", "warehouse", "site")


class BuildWithSite(build_py):
    """Builds the page's assets into the wheel. An editable install builds them at the first `publish`."""

    def run(self) -> None:
        """Build Python files, then assets."""
        super().run()
        if not getattr(self, "editable_mode", False):
            build_site(Path(self.build_lib) / PLACE)


def build_site(target: Path) -> None:
    """Run npm and the bundler on a copy of the sources; the result goes to ``target/assets``."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        if os.environ.get("JOULEMARK_SITE") == "required":
            sys.exit("the leaderboard's page cannot be built: npm is not installed")
        print("warning: npm is not installed: this wheel has no built page for `joulemark publish`", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as work:
        web = Path(work) / "web"
        shutil.copytree(target / "web", web, ignore=shutil.ignore_patterns("node_modules"))
        subprocess.run([npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=web, check=True)
        built = Path(work) / "assets"
        subprocess.run([node, "build.mjs", str(built)], cwd=web, check=True)
        shutil.copytree(built, target / "assets", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithSite})
