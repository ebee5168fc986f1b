"""The page's scripts, style and database: from the wheel, or built once from the checkout with npm.

Versions of all packages are pinned, with hashes of their content, in web/package-lock.json.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from joulemark.warehouse.errors import MissingTool

NEEDED = ("main.js", "plots.js", "sql.js", "page.js", "style.css", "uplot.css", "LICENCES.txt")
DATABASE = ("duckdb-eh.wasm", "duckdb-browser-eh.worker.js")
_LOG_LINES = 15
_PLACE = resources.files("joulemark.warehouse.site")


def assets(home: Path) -> Path:
    """Return the folder of the built assets, building them below ``home`` where that has not been done.

    Raises MissingTool where they are not there and npm is not, or fails.
    """
    shipped = Path(str(_PLACE / "assets"))
    if _whole(shipped):
        return shipped
    sources = Path(str(_PLACE / "web"))
    target = home / "site-assets" / digest(sources)
    if not _whole(target):
        _build(sources, target, home / "site-assets")
    return target


def digest(sources: Path) -> str:
    """Return the hash of all that the assets are made from."""
    whole = hashlib.sha256()
    for path in sorted(p for p in sources.rglob("*") if p.is_file() and "node_modules" not in p.parts):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(sources).as_posix()} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:16]


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (*NEEDED, *DATABASE))


def _build(sources: Path, target: Path, cache: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise MissingTool(
            "the page's scripts are not built yet, and npm is not installed: install it (apt-get install nodejs npm), "
            "or install joulemark from a wheel, which holds them"
        )
    cache.mkdir(parents=True, exist_ok=True)
    # What is half done is never taken for whole: it gets its name at the end.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as work:
        tree = Path(work) / "web"
        shutil.copytree(sources, tree, ignore=shutil.ignore_patterns("node_modules"))
        _run([npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], tree)
        _run([node, "build.mjs", str(Path(work) / "built")], tree)
        try:
            os.replace(Path(work) / "built", target)
        except OSError:
            # Another process was faster.
            if not _whole(target):
                raise


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-_LOG_LINES:])
        raise MissingTool(f"the page's scripts could not be built: {Path(argv[0]).name} {argv[1]} failed: {said}")
