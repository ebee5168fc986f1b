"""The wheel holds every source file and nothing beside joulemark, and works where there is no checkout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from building import copy_of_sources, make_backend, make_sdist, make_wheel, pip, run
from house_tree import PACKAGES, ROOT, sources

from joulemark.warehouse.schema.identity import device_set_id, trial_id
from joulemark.warehouse.schema.trial import NodePart, TrialManifest
from joulemark.warehouse.site.assets import DATABASE, NEEDED
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.workloads.matrix import expand
from joulemark.workloads.sweep import load_sweep

WITHOUT_ENGINE = "joulemark.agents.engines.llamacpp_server"
"""Runs in an engine's environment, so that it cannot be imported here."""
PRIVATE = 0o077
"""The umask of someone who shows nobody their files."""
LONG_AGO = 1_000_000_000


def source_files() -> set[str]:
    """Tracked files of the four packages and of ``src/joulemark``, as the paths that they have in the wheel."""
    found = set()
    for path in sources():
        parts = path.parts
        if parts[0] in PACKAGES:
            found.add("/".join(("joulemark", *parts)))
        elif parts[:2] == ("src", "joulemark") and not (ROOT / path).is_symlink():
            found.add("/".join(parts[1:]))
    return found


@dataclass(frozen=True)
class Built:
    """A wheel and an sdist from a tree, an sdist from another tree with the same files, and a wheel from that sdist."""

    wheel: Path
    sdist: Path
    other_sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build twice: in different folders, one after the other, from files of other ages and modes."""
    folder = tmp_path_factory.mktemp("build")
    tree, other = copy_of_sources(folder / "tree"), copy_of_sources(folder / "another" / "tree")
    as_if_cloned_elsewhere(other)
    backend = make_backend(tree, folder)
    other_sdist = make_sdist(other, folder / "other-sdist", backend, umask=PRIVATE)
    return Built(
        wheel=make_wheel(tree, folder / "from-tree"),
        sdist=make_sdist(tree, folder / "sdist", backend),
        other_sdist=other_sdist,
        wheel_of_sdist=make_wheel(other_sdist, folder / "from-sdist", umask=PRIVATE),
    )


def as_if_cloned_elsewhere(tree: Path) -> None:
    """Give a tree's files another age, and the modes that git gives them under another umask."""
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~PRIVATE)
            os.utime(path, (LONG_AGO, LONG_AGO))


def test_the_wheel_holds_every_tracked_source_file(built):
    wanted = source_files()
    assert {"joulemark/py.typed", "joulemark/warehouse/views/leaderboard.sql"} < wanted
    for wheel in (built.wheel, built.wheel_of_sdist):
        names = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("joulemark/")}
        assert wanted - names == set(), "these are missing"
        built_by_npm = {n for n in names if n.startswith("joulemark/warehouse/site/assets/")}
        assert names - wanted == built_by_npm, "these are not tracked"
        if shutil.which("npm"):
            made = {n.rpartition("/")[2] for n in built_by_npm}
            assert made == {*NEEDED, *DATABASE}, "the page is built into the wheel"


def test_the_wheel_owns_no_other_name(built):
    """A bare ``agents`` in a wheel would overwrite that of another project."""
    for wheel in (built.wheel, built.wheel_of_sdist):
        tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
        assert {t for t in tops if not t.endswith(".dist-info")} == {"joulemark"}
        assert any(n.endswith(".dist-info/licenses/LICENSE") for n in zipfile.ZipFile(wheel).namelist())


def test_two_builds_give_the_same_bytes(built):
    """By files first, so that a failure says which."""

    def files(wheel):
        archive = zipfile.ZipFile(wheel)
        return {i.filename: (archive.read(i), i.date_time, i.external_attr) for i in archive.infolist()}

    one, other = files(built.wheel), files(built.wheel_of_sdist)
    assert [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)] == []
    assert sha256(built.wheel) == sha256(built.wheel_of_sdist)
    assert sha256(built.sdist) == sha256(built.other_sdist)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sdist_holds_files_not_links(built):
    with tarfile.open(built.sdist) as archive:
        assert [m.name for m in archive if m.issym() or m.islnk()] == []


@dataclass(frozen=True)
class Installed:
    """The wheel in a folder of its own, and an interpreter that sees its dependencies but not this checkout."""

    folder: Path
    python: Path
    empty: Path

    def run(self, code: str, *arguments: object) -> str:
        """Run ``code`` in an empty folder and return its output."""
        argv = (self.python, "-P", "-c", code, *arguments)
        home = str(self.empty.parent / "home")
        return run(*argv, folder=self.empty, PYTHONPATH=str(self.folder), JOULEMARK_HOME=home).stdout

    def joulemark(self, *arguments: object) -> str:
        """Run the command line as the script that pip writes would."""
        return self.run("from joulemark.orchestrator.cli import main; main()", *arguments)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--target", folder / "site", built.wheel_of_sdist, folder=folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    # A .pth in a folder that is named by another .pth is not read, so that an editable install has no effect here.
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "dependencies.pth").write_text("".join(f"{place}\n" for place in sorted(places)))
    (folder / "empty").mkdir()
    return Installed(folder / "site", folder / "venv" / "bin" / "python", folder / "empty")


def test_the_checkout_is_out_of_reach(installed):
    found = json.loads(installed.run("import json, sys, joulemark; print(json.dumps([joulemark.__file__, sys.path]))"))
    assert Path(found[0]).is_relative_to(installed.folder)
    assert [p for p in found[1] if Path(p) in (ROOT, ROOT / "src")] == []


def test_every_module_can_be_loaded(installed):
    code = f"""
import importlib, pkgutil, joulemark
names = [m.name for m in pkgutil.walk_packages(joulemark.__path__, "joulemark.")]
names = [n for n in names if not n.endswith(".__main__") and n != {WITHOUT_ENGINE!r}]
print(*(importlib.import_module(n).__file__ for n in names), sep="\\n")
"""
    files = installed.run(code).splitlines()
    assert len(files) > 100
    assert all(Path(f).is_relative_to(installed.folder) for f in files)


def test_the_quickstart_is_planned_from_the_wheel(installed):
    where = "import importlib.resources as r; print(r.files('joulemark.workloads.examples') / 'quickstart.yaml')"
    example = installed.run(where).strip()
    assert Path(example).is_relative_to(installed.folder)
    plan = json.loads(installed.joulemark("plan", example, "--json"))
    assert (plan["sweep"], plan["wanted"], plan["done"]) == ("quickstart", 16, 0)
    assert plan["no_place"] == []


def test_sql_answers_from_the_wheel(installed, tmp_path):
    warehouse = Warehouse.at(tmp_path / "records")
    trial = failed_trial()
    commit(warehouse, trial)
    place = ("-w", warehouse.root)
    (row,) = json.loads(installed.joulemark("sql", "select trial, model, error from failures", "--json", *place))
    assert row == {"trial": trial.trial, "model": "tiny-dense", "error": "made by a test"}
    assert json.loads(installed.joulemark("sql", "from leaderboard", "--json", *place)) == []
    assert "1 failed" in installed.joulemark("leaderboard", *place)


def failed_trial() -> TrialManifest:
    """The first trial of the quickstart, as a manifest without traces."""
    cell = expand(load_sweep(ROOT / "workloads" / "examples" / "quickstart.yaml")).cells[0]
    now_us = 1_760_000_000_000_000
    name = trial_id(cell.cell_id, device_set_id("node", ("cpu",)), 0, 0, 0)
    return TrialManifest(
        trial=name,
        cell=cell.cell_id,
        deployment=cell.deployment.deployment_id,
        sweep="quickstart",
        start=0,
        repeat=0,
        attempt=0,
        factors=cell.factors,
        planned_repeats=2,
        planned_starts=1,
        outcome="failed",
        reasons=(),
        nodes=(NodePart("node", "boot", ("cpu",), "cpu"),),
        started_us=now_us,
        ended_us=now_us + 1,
        failure_class="interrupted",
        error="made by a test",
    )
