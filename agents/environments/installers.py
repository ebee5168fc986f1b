"""The two ways to fill an environment: uv where it is found, else venv and pip.

uv does not read pip's settings, so what matters of them is handed over.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from joulemark.agents.environments.processes import child_environment
from joulemark.agents.environments.sets import RequirementSet
from joulemark.warehouse.errors import MissingTool

Run = Callable[[Sequence[str]], None]

# Some packages ship files for newer Pythons, or broken ones for their tests: what does not compile is passed over.
_COMPILE = "import compileall, sys; compileall.compile_dir(sys.argv[1], quiet=2, workers=0)"

# The first uv whose `pip install` knows --excludes.
_OLDEST_UV = (0, 9, 8)
_SETTING = re.compile(r"(global|install|:env:)\.([a-z-]+)=('.*'|\".*\")")


class Installer(Protocol):
    """One way to make an environment."""

    @property
    def name(self) -> str:
        """What users know it by."""

    def make(self, wanted: RequirementSet, folder: Path, run: Run) -> None:
        """Make a virtual environment in ``folder`` (absent yet) and install the set, with bytecode.

        Raises MissingTool where that cannot work or a command fails.
        """


@dataclass(frozen=True)
class Uv:
    """uv at ``program``."""

    program: str
    name: str = "uv"

    def make(self, wanted: RequirementSet, folder: Path, run: Run) -> None:
        """Make the environment; uv finds or fetches another Python where ours does not suit the set."""
        python = sys.executable if wanted.holds_python(sys.version_info[:3]) else wanted.python
        run([self.program, "venv", "--color", "never", "--no-project", "--python", python, str(folder)])
        files = _written(wanted, folder)
        run(self._install(wanted, folder, ["--requirements", files.requirements, *files.options]))
        if wanted.without_deps:
            # A recipe changes these; what is in uv's cache is shared with other environments, and may be changed too.
            run(self._install(wanted, folder, ["--no-cache", "--no-deps", *wanted.without_deps]))

    def _install(self, wanted: RequirementSet, folder: Path, what: Sequence[str]) -> list[str]:
        command = [self.program, "pip", "install", "--color", "never", "--python", str(interpreter_of(folder))]
        command += ["--compile-bytecode", *what]
        settings = pip_settings()
        links = settings.get("find-links", "").split()
        for link in links:
            command += ["--find-links", link]
        if "index-url" in settings:
            command += ["--default-index", settings["index-url"]]
        if wanted.torch_backend and not has_torch(wanted, links):
            command += ["--torch-backend", wanted.torch_backend]
        if "cert" in settings and "SSL_CERT_FILE" not in os.environ:
            # Where pip needs a certificate of the user's, uv needs it too, and takes it from its environment only.
            command = ["env", f"SSL_CERT_FILE={settings['cert']}", *command]
        return command


@dataclass(frozen=True)
class Pip:
    """venv and pip of our own Python."""

    name: str = "pip"

    def make(self, wanted: RequirementSet, folder: Path, run: Run) -> None:
        """Make the environment; pip has no excludes, so it resolves first and installs what is left without deps."""
        if not wanted.holds_python(sys.version_info[:3]):
            raise MissingTool(
                f"{wanted.name} needs Python {wanted.python} and this is {sys.version.split()[0]}; "
                "install uv (pip install uv), which brings the right one"
            )
        if wanted.overrides or wanted.without_deps:
            raise MissingTool(
                f"{wanted.name} is put together in a way that pip cannot; install uv (pip install uv) and run the same "
                "command again"
            )
        if wanted.torch_backend and not has_torch(wanted, find_links()):
            raise MissingTool(
                f"{wanted.name} needs torch built for {wanted.torch_backend}, which pip does not find by itself; "
                "install uv (pip install uv) and run the same command again"
            )
        run([sys.executable, "-m", "venv", str(folder)])
        files = _written(wanted, folder)
        python = str(interpreter_of(folder))
        install = [python, "-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check"]
        if wanted.excludes:
            resolved = str(folder / "resolved.json")
            run([*install, "--dry-run", "--report", resolved, "--requirement", files.requirements])
            kept = _kept(json.loads(Path(resolved).read_text(encoding="utf-8")), wanted.excludes)
            Path(files.requirements).write_text("\n".join(kept) + "\n", encoding="utf-8")
            run([*install, "--no-deps", "--requirement", files.requirements])
        else:
            run([*install, "--requirement", files.requirements])
        run([python, "-c", _COMPILE, str(folder / "lib")])


def find_installer() -> Installer:
    """Return uv where there is one that is new enough (on the path, or beside our own interpreter), else pip."""
    beside = Path(sys.executable).parent / "uv"
    for program in (shutil.which("uv"), str(beside) if beside.is_file() else None):
        if program and _uv_version(program) >= _OLDEST_UV:
            return Uv(program)
    return Pip()


def interpreter_of(folder: Path) -> Path:
    """Return the interpreter of the virtual environment in ``folder``."""
    return folder / "bin" / "python"


def find_links() -> list[str]:
    """Return the places where pip of our Python looks for wheels besides its index."""
    return pip_settings().get("find-links", "").split()


def pip_settings() -> dict[str, str]:
    """Return what pip's variables and files say for an installation, by the names of its options."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
    )
    found = [match.groups() for match in map(_SETTING.fullmatch, listed.stdout.splitlines()) if match]
    # What stands further right wins.
    ranked = sorted(found, key=lambda item: ("global", "install", ":env:").index(item[0]))
    return {name: str(ast.literal_eval(value)) for _, name, value in ranked}


def has_torch(wanted: RequirementSet, links: Sequence[str]) -> bool:
    """Return whether a folder among ``links`` holds a wheel of the torch that the set pins."""
    pattern = f"torch-{wanted.pinned('torch') or '*'}*.whl"
    folders = (Path(link.removeprefix("file://")) for link in links)
    return any(any(folder.glob(pattern)) for folder in folders if folder.is_dir())


@dataclass(frozen=True)
class _Files:
    """``options`` are uv's, for what is left out and what is overridden."""

    requirements: str
    options: tuple[str, ...]


def _written(wanted: RequirementSet, folder: Path) -> _Files:
    requirements, excludes = folder / "requirements.txt", folder / "excludes.txt"
    requirements.write_text(wanted.text, encoding="utf-8")
    excludes.write_text("".join(f"{name}\n" for name in wanted.excludes), encoding="utf-8")
    options = ["--excludes", str(excludes)]
    if wanted.overrides:
        overrides = folder / "overrides.txt"
        overrides.write_text("".join(f"{line}\n" for line in wanted.overrides), encoding="utf-8")
        options += ["--overrides", str(overrides)]
    return _Files(str(requirements), tuple(options))


def _kept(report: dict[str, list[dict[str, dict[str, str]]]], excludes: Sequence[str]) -> list[str]:
    """Return requirement lines for what a pip installation report lists, less the excluded names."""
    dropped = {_canonical(name) for name in excludes}
    lines = []
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        local = "dir_info" in item["download_info"]
        line = f"{name} @ {item['download_info']['url']}" if local else f"{name}=={version}"
        if _canonical(name) not in dropped:
            lines.append(line)
    return sorted(lines)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv_version(program: str) -> tuple[int, ...]:
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, env=child_environment())
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", asked.stdout)
    return tuple(int(part) for part in match.groups()) if match else (0,)
