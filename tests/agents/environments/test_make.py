"""Environments are made once, whole or not at all."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulemark.agents.environments import RequirementSet, ensure_set, installed_versions, processes
from joulemark.agents.environments import make as making
from joulemark.agents.environments.installers import Installer, Pip, Run, Uv, find_installer
from joulemark.agents.environments.make import MARKER, environment_folder
from joulemark.warehouse.errors import DiskFull, MissingTool

MakeSet = Callable[..., RequirementSet]
ANOTHER_PROCESS = """
import os, signal, subprocess, sys, time
from pathlib import Path
from joulemark.agents.environments import RequirementSet, ensure_set
from joulemark.agents.environments.installers import Pip

home, behaviour = Path(sys.argv[1]), sys.argv[2]

class Watched(Pip):
    def make(self, wanted, folder, run):
        with (home / "makers").open("a") as file:
            file.write("made\\n")
        if behaviour == "dies":
            folder.mkdir()
            (folder / "half").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "leaves-installer":
            begin = "import pathlib, sys, time\\nprint('here', flush=True)\\n"
            wait = "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)"
            run([sys.executable, "-c", begin + wait, str(home / "go")])
        while not (home / "go").exists():
            time.sleep(0.02)
        super().make(wanted, folder, run)

wanted = RequirementSet.parse("tiny-1.0", sys.stdin.read())
print(ensure_set(wanted, home, lambda line: print("said:", line, flush=True), Watched()), flush=True)
"""


def silent(line: str) -> None:
    """Report to nobody."""


class Never:
    """An installer that must not be asked."""

    name = "never"

    def make(self, wanted: RequirementSet, folder: Path, run: Run) -> None:
        raise AssertionError


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest) -> Installer:
    if request.param == "pip":
        return Pip()
    found = find_installer()
    if not isinstance(found, Uv):
        pytest.skip("no uv that is new enough on this machine")
    return found


@pytest.fixture
def start(tmp_path: Path, make_set: MakeSet) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts another process which ensures the same set and behaves as told."""
    children: list[subprocess.Popen[str]] = []

    def begin(behaviour: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), behaviour],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdin is not None
        child.stdin.write(make_set().text)
        child.stdin.close()
        return child

    yield begin
    (tmp_path / "go").touch()
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def next_line(child: subprocess.Popen[str], starting: str) -> str:
    """Return the next line of a child that starts so, passing over others."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(starting):
            return line.strip()
    raise AssertionError(f"ended without a line {starting!r}")


def test_an_environment_is_made_and_then_reused(
    tmp_path: Path, make_set: MakeSet, installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    said: list[str] = []
    interpreter = ensure_set(make_set(), tmp_path, said.append, installer)
    assert installed_versions(interpreter, ["tinypack", "tinyhelper", "unwanted"]) == {
        "tinypack": "1.0",
        "tinyhelper": "1.0",
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    assert list(interpreter.parent.parent.rglob("__pycache__/tinypack.*.pyc"))
    assert said[0] == f"installing tiny-1.0 (1 MB) with {installer.name}"
    assert said[-1].startswith("installed tiny-1.0 (")
    assert ensure_set(make_set(), tmp_path, said.append, Never()) == interpreter


def test_another_text_is_another_environment(tmp_path: Path, make_set: MakeSet) -> None:
    folders = {environment_folder(make_set(text), tmp_path) for text in ("tinypack==1.0", "tinyhelper==1.0")}
    assert len(folders) == 2


def test_what_a_crash_leaves_is_made_anew(
    tmp_path: Path, make_set: MakeSet, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    assert start("dies").wait() == -signal.SIGKILL
    folder = environment_folder(make_set(), tmp_path)
    assert (folder / "half").exists()
    said: list[str] = []
    interpreter = ensure_set(make_set(), tmp_path, said.append)
    assert said[0] == "removing an unfinished environment of tiny-1.0"
    assert not (folder / "half").exists()
    assert installed_versions(interpreter, ["tinypack"])["tinypack"] == "1.0"


def test_a_vanished_python_is_noticed(tmp_path: Path, make_set: MakeSet) -> None:
    interpreter = ensure_set(make_set(), tmp_path, silent)
    interpreter.unlink()
    interpreter.symlink_to(tmp_path / "gone")
    assert installed_versions(ensure_set(make_set(), tmp_path, silent), ["tinypack"])["tinypack"] == "1.0"


def test_of_two_processes_one_installs_and_both_get_it(
    tmp_path: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    first = start("waits")
    next_line(first, "said: installing")
    second = start("waits")
    assert next_line(second, "said:") == "said: waiting: another process installs tiny-1.0"
    (tmp_path / "go").touch()
    assert next_line(first, "/") == next_line(second, "/")
    assert (tmp_path / "makers").read_text() == "made\n"


def test_an_installer_that_outlives_us_keeps_the_lock(
    tmp_path: Path, make_set: MakeSet, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    first = start("leaves-installer")
    next_line(first, "said: installing")
    folder = environment_folder(make_set(), tmp_path)
    log = folder.with_name(f"{folder.name}.log")
    while not (log.exists() and log.read_text().endswith("here\n")):
        time.sleep(0.02)
    with folder.with_name(f"{folder.name}.lock").open() as lock:
        first.kill()
        first.wait()
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (tmp_path / "go").touch()
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_a_requirement_that_nobody_has(tmp_path: Path, make_set: MakeSet, installer: Installer) -> None:
    wanted = make_set("no-such-package==9.9")
    with pytest.raises(MissingTool) as caught:
        ensure_set(wanted, tmp_path, silent, installer)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("cannot make the environment tiny-1.0: ")
    assert "no-such-package" in message
    assert "`environment:`" in message
    assert not (environment_folder(wanted, tmp_path) / MARKER).exists()


def test_a_module_that_cannot_be_imported(tmp_path: Path, make_set: MakeSet) -> None:
    wanted = make_set(module="unwanted")
    with pytest.raises(MissingTool, match="No module named 'unwanted'"):
        ensure_set(wanted, tmp_path, silent)
    assert not (environment_folder(wanted, tmp_path) / MARKER).exists()


def test_a_disk_that_is_too_small(tmp_path: Path, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000)
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFull, match=r"has 0 MB free and tiny-1\.0 takes 1 MB.*JOULEMARK_HOME"):
        ensure_set(make_set(), tmp_path, silent, Never())


def test_pip_says_that_it_needs_another_python(tmp_path: Path, make_set: MakeSet) -> None:
    with pytest.raises(MissingTool, match=r"needs Python <3\.2 and this is 3.*install uv"):
        ensure_set(make_set(python="<3.2"), tmp_path, silent, Pip())


def test_progress_is_told_while_it_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REPORT_EVERY_S", 0.05)
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        if line.endswith("unpacking"):
            (tmp_path / "go").touch()

    runner = runner_in(tmp_path, report)
    (runner.folder / "payload").write_bytes(bytes(3_000_000))
    until_told = (
        "import pathlib, sys, time\nprint('unpacking', flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)"
    )
    runner.run([sys.executable, "-c", until_told, str(tmp_path / "go")])
    assert said[-1].startswith("tiny-1.0: ")
    assert said[-1].endswith(" s, 3 MB on disk: unpacking")


def test_an_interrupt_ends_the_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "REPORT_EVERY_S", 0.05)
    pid = tmp_path / "pid"

    def interrupt(line: str) -> None:
        if pid.exists():
            raise KeyboardInterrupt

    runner = runner_in(tmp_path, interrupt)
    sleeps = "import os, pathlib, sys, time\npathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\ntime.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        runner.run([sys.executable, "-c", sleeps, str(pid)])
    assert not Path(f"/proc/{pid.read_text()}").exists()


def runner_in(place: Path, report: processes.Report) -> processes.Runner:
    """Return a runner without a lock of its own (standard input stands for it)."""
    folder = place / "environment"
    folder.mkdir()
    return processes.Runner("tiny-1.0", folder, place / "log", 0, report)
