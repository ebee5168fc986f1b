"""A warehouse with hostile names, its publication, and a headless Chromium that sees nothing but it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))
sys.path.insert(0, str(Path(__file__).parent))

from publishing import ERROR, SPECS, published, scored
from synthetic import Spec, add_trial, cells
from tabs import Quiet, Tab

from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.site.assets import assets as find_assets
from joulemark.warehouse.store.location import Warehouse


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory):
    """Cells of three trials and one of one, scores for some, a failed, an invalid and a simulated trial."""
    made = Warehouse.at(tmp_path_factory.mktemp("published") / "warehouse")
    cells(made, SPECS, spread=0.01, repeats=3)
    add_trial(made, Spec(quantization="q5_0", busy_w=47.0), 49)
    add_trial(made, Spec(quantization="f16", outcome="failed", failure_class="engine_died", error=ERROR), 50)
    add_trial(made, Spec(quantization="f16", attempt=1, fail_every=3), 51)
    add_trial(made, Spec(model="made-by-simulator", simulated=True), 52)
    scored(made)
    return made


@pytest.fixture(scope="session")
def built():
    """The page's scripts, built once on this machine."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the page's scripts cannot be built")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return find_assets(Path(cache).expanduser() / "joulemark-tests")


@pytest.fixture(scope="session")
def no_assets(tmp_path_factory):
    """Empty files in place of the scripts, for tests of what is written beside them."""
    from joulemark.warehouse.site.assets import DATABASE, NEEDED

    folder = tmp_path_factory.mktemp("assets")
    for name in (*NEEDED, *DATABASE):
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def site(warehouse, built, tmp_path_factory):
    """The publication, with everything in it."""
    return published(warehouse, tmp_path_factory.mktemp("site"), built)


@pytest.fixture(scope="session")
def connection(warehouse):
    """The warehouse, open for questions."""
    with open_warehouse(warehouse, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def address(site):
    """The publication on a web server of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium of the system: playwright cannot download its own everywhere."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A page that may load nothing from elsewhere; the test fails where anything went wrong on it."""
    context = chromium.new_context(viewport={"width": 1360, "height": 900}, accept_downloads=True)
    opened = Tab(context.new_page())

    def check(route):
        host = route.request.url.split("/")[2].split(":")[0]
        if route.request.url.startswith(("file:", "data:", "blob:")) or host == "127.0.0.1":
            route.continue_()
        else:
            opened.wrong.append(f"asked {route.request.url}")
            route.abort()

    context.route("**/*", check)
    opened.page.on("console", lambda m: opened.wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.page.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.page.on("dialog", lambda dialog: (opened.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    yield opened
    context.close()
    assert opened.wrong == []


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """All npm packages, those for tests too."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm") / "web"
    web = Path(__file__).parents[2] / "warehouse" / "site" / "web"
    shutil.copytree(web, folder, ignore=shutil.ignore_patterns("node_modules"))
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return folder
