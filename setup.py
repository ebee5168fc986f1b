"""The build: beside the Python files it puts the built page of the leaderboard into the wheel.

Without npm the wheel is made without them and the build says so; `joulemark publish` then says what to install. With
JOULEMARK_SITE=required in the environment, as for a release, that is an error.

The same files give the same bytes, wheel and sdist, whenever and wherever they are built: archives hold one date
(SOURCE_DATE_EPOCH where it is set), no owners, and modes that the builder's umask has no part in.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PLACE = Path("joulemark", "warehouse", "site")
# The first moment that a wheel, which is a zip file, can name: says to everyone that it says nothing.
EPOCH = os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")


class BuildWithSite(build_py):
    """Builds the page's assets into the wheel. An editable install builds them at the first `publish`."""

    def run(self) -> None:
        """Build Python files, then assets."""
        super().run()
        if not getattr(self, "editable_mode", False):
            build_site(Path(self.build_lib) / PLACE)


class SameWheel(bdist_wheel):
    """Makes a wheel whose files have the modes that git knows."""

    def write_wheelfile(self, *arguments: str) -> None:
        """Write what is written last before the archive is made, and settle the modes of all."""
        super().write_wheelfile(*arguments)
        for path in Path(self.bdist_dir).rglob("*"):
            path.chmod(plain_mode(path.stat().st_mode))


class SameSdist(sdist):
    """Makes an archive of its own: setuptools' holds the time and the user of the build."""

    def make_archive(self, base_name: str, kind: str, base_dir: str, **_: str | None) -> str:
        """Pack ``base_dir``; an owner that is asked for is passed over."""
        if kind != "gztar":
            sys.exit(f"an sdist is a .tar.gz, not of the kind {kind}")
        name = f"{base_name}.tar.gz"
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(EPOCH)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=plain)
        return name


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take from a file what is not its content."""
    member.mtime, member.mode = int(EPOCH), plain_mode(member.mode | (stat.S_IXUSR if member.isdir() else 0))
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def plain_mode(mode: int) -> int:
    """Return the mode under the usual umask: of a mode git keeps only whether a file is a program."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


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


setup(cmdclass={"build_py": BuildWithSite, "bdist_wheel": SameWheel, "sdist": SameSdist})
