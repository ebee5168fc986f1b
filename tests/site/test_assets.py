"""The front end: pinned packages, no host in the lock file, types, licences, and what is said where npm is missing."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from joulemark.warehouse.errors import MissingTool
from joulemark.warehouse.site import assets as module
from joulemark.warehouse.site.assets import NEEDED, assets

WEB = Path(__file__).parents[2] / "warehouse" / "site" / "web"
FIRST_VIEW_BYTES = 300_000


def test_every_package_is_pinned_by_its_content_and_names_no_host():
    lock = json.loads((WEB / "package-lock.json").read_text())
    packages = {name: p for name, p in lock["packages"].items() if name}
    assert all(p["integrity"].startswith("sha512-") for p in packages.values())
    assert not [name for name, p in packages.items() if "resolved" in p]
    wanted = json.loads((WEB / "package.json").read_text())
    pinned = wanted["dependencies"] | wanted["devDependencies"]
    assert {n: packages[f"node_modules/{n}"]["version"] for n in pinned} == pinned


def test_types_are_right(packages):
    done = subprocess.run(
        ["node_modules/.bin/tsc", "-p", "."], cwd=packages, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_first_view_is_small(site, built):
    names = ["index.html", "data/core.js", *(f"assets/{n}" for n in ("main.js", "style.css", "uplot.css"))]
    assert sum(len(gzip.compress((site / n).read_bytes())) for n in names) < FIRST_VIEW_BYTES


def test_licences_of_all_that_is_shipped_are_there(built):
    text = (built / "LICENCES.txt").read_text()
    for name in ("@duckdb/duckdb-wasm", "@observablehq/plot", "uplot", "apache-arrow", "d3-scale", "flatbuffers"):
        assert f"\n{name} " in f"\n{text}"


def test_scripts_name_no_other_host(built):
    for name in ("main.js", "plots.js", "page.js"):
        text = (built / name).read_text().replace("http://www.w3.org/", "")
        assert "http://" not in text
        assert "https://" not in text


def test_built_once(built, monkeypatch):
    monkeypatch.setattr(module, "_run", lambda *_: pytest.fail("built again"))
    assert assets(built.parents[1]) == built


def test_without_npm_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(MissingTool, match="apt-get install nodejs npm"):
        assets(tmp_path)


def test_half_a_build_is_none(monkeypatch, tmp_path):
    """What breaks off leaves nothing that is taken for whole."""

    def fail(argv, folder):
        raise MissingTool("npm failed")

    monkeypatch.setattr(module, "_run", fail)
    with pytest.raises(MissingTool):
        assets(tmp_path)
    assert [p for p in (tmp_path / "site-assets").iterdir() if any((p / n).exists() for n in NEEDED)] == []
