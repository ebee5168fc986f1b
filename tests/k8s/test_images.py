"""The images' install steps, run from nothing in a chroot: there is no container engine where the tests run.

    JOULEMARK_TEST_IMAGES=1 pytest tests/k8s/test_images.py

It needs root and Debian's debootstrap, and takes about five minutes; without the variable only the Dockerfile is read.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from joulemark.agents.machine import VARIABLE
from joulemark.workloads.engines.catalogue import default_version

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "k8s" / "images"
DOCKERFILE = (IMAGES / "Dockerfile").read_text()
SUITE = "bookworm"
SOME_MISSING = 1
"""The exit code of a sweep with trials that are invalid, as on a machine that is busy."""
FROM_OUTSIDE = (
    "/etc/resolv.conf",
    "/etc/apt/sources.list",
    "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/root/.npmrc",
)
SWEEP = """
schema: 1
name: image
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, accelerator: cpu, concurrency: 2}
workload: {input_tokens: 32, output_tokens: 16}
measure: {repeats: 1, warmup: 1s, window: 2s}
"""


def steps():
    """The steps that the Dockerfile takes, in its order."""
    return re.findall(r"RUN .*install\.sh ([a-z-]+)", DOCKERFILE)


def test_the_dockerfile_takes_the_steps_that_there_are():
    script = (IMAGES / "install.sh").read_text()
    known = re.findall(r"^  ([a-z-]+)\)$", script, re.MULTILINE)
    assert steps() == known == ["build-tools", "wheel", "runtime-tools", "joulemark"]


def test_images_are_pinned_and_do_not_run_as_root():
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-", DOCKERFILE, re.MULTILINE)
    assert "USER 1000:1000" in DOCKERFILE
    assert "latest" not in DOCKERFILE


def test_an_unknown_step_is_refused():
    done = subprocess.run([IMAGES / "install.sh", "joulmark"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "install.sh: no step is called joulmark\n")


@pytest.fixture
def chroot(tmp_path):
    """A bare Debian with Python, as the images' base is, and a way to run commands in it."""
    if os.environ.get("JOULEMARK_TEST_IMAGES") != "1":
        pytest.skip("set JOULEMARK_TEST_IMAGES=1 to run the images' install steps in a chroot")
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a chroot needs root and Debian's debootstrap")
    root = tmp_path / "root"
    include = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", include, SUITE, root], check=True)
    for name in FROM_OUTSIDE:
        if Path(name).exists():
            (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, root / name[1:])
    (root / "src").mkdir()
    tree = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "x", "-C", root / "src"], input=tree.stdout, check=True)
    shutil.copy(IMAGES / "install.sh", root / "src" / "install.sh")

    def run(*command, user="0:0"):
        variables = {
            k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "npm_", "NPM_", "http", "HTTP"))
        }
        variables |= {
            "PATH": "/opt/joulemark/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root" if user == "0:0" else "/home/joulemark",
            "JOULEMARK_HOME": re.search(r"JOULEMARK_HOME=(\S+)", DOCKERFILE)[1],
            VARIABLE: os.environ[VARIABLE],
        }
        variables.pop("PIP_FIND_LINKS", None)
        return subprocess.run(
            ["chroot", f"--userspec={user}", root, *command], env=variables, capture_output=True, text=True, check=False
        )

    subprocess.run(["mount", "--bind", "/proc", root / "proc"], check=True)
    subprocess.run(["mount", "--bind", "--make-private", "/dev", root / "dev"], check=True)
    # Shared memory of its own, as a container has it: Ray keeps its objects there.
    memory = ["-t", "tmpfs", "-o", "mode=1777,size=4g", "tmpfs"]
    subprocess.run(["mount", *memory, root / "dev" / "shm"], check=True)
    try:
        yield run
    finally:
        subprocess.run(["umount", root / "dev" / "shm", root / "dev", root / "proc"], check=True)


@pytest.mark.timeout(1800)
def test_the_steps_make_an_image_that_measures_without_privileges(chroot, tmp_path):
    def user(*command, codes=(0,)):
        done = chroot(*command, user="1000:1000")
        assert done.returncode in codes, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    arguments = {"wheel": ("/src", "/wheels"), "joulemark": ("/wheels",)}
    for step in steps():
        done = chroot("/src/install.sh", step, *arguments.get(step, ()))
        assert done.returncode == 0, f"{step}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for command in (("wget", "--version"), ("gcc", "--version"), ("ray", "--version"), ("joulemark", "--version")):
        user(*command)
    records = ("-w", "/home/joulemark/records")
    assert "16 trials" in user("joulemark", "plan", "/src/workloads/examples/quickstart.yaml", *records)
    assets = user("sh", "-c", "ls /opt/joulemark/lib/python3*/site-packages/joulemark/warehouse/site/assets")
    assert "page" in assets, "the leaderboard's page was not built into the wheel"

    # What the stage `engines` runs, for an engine that needs no GPU, and a sweep with it.
    engine = f"llamacpp-{default_version('llamacpp', True)}"
    assert re.search(r"RUN for engine in .*; do python -m joulemark.agents.environments ", DOCKERFILE)
    made = user("python", "-m", "joulemark.agents.environments", engine)
    (tmp_path / "root" / "src" / "sweep.yaml").write_text(SWEEP)
    user("joulemark", "run", "/src/sweep.yaml", *records, codes=(0, SOME_MISSING))
    query = "select outcome, engine_version, r.output_tokens from trials join trial_results as r using (trial)"
    trials = json.loads(user("joulemark", "sql", query, "--json", *records))
    assert {(t["outcome"], f"llamacpp-{t['engine_version']}") for t in trials} == {("done", engine)}
    assert all(t["output_tokens"] > 0 for t in trials)
    assert Path(made.strip()).parts[:4] == ("/", "home", "joulemark", "home"), "where nodes look for it"
