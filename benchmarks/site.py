"""How large the leaderboard's page is, and how fast it ranks anew.

``python benchmarks/site.py`` publishes a small warehouse, gives its page 5,000 rows with figures of their own, and
moves the sliders in a headless Chromium: from the event to the page drawn again, style and layout included. Every
figure has its limit beside it; ends with 1 where one is missed. Needs npm, Playwright and a Chromium.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "warehouse"))
from playwright.sync_api import sync_playwright
from synthetic import Spec, cells

from joulemark.agents.home import joulemark_home
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.site.assets import assets
from joulemark.warehouse.site.options import Options
from joulemark.warehouse.site.publish import publish
from joulemark.warehouse.site.rows import by_column
from joulemark.warehouse.site.target import dumps
from joulemark.warehouse.store.location import Warehouse

ROWS = 5_000
FIRST_VIEW_AT_MOST_BYTES, RERANK_AT_MOST_MS = 300_000, 50
FIRST_VIEW = ("index.html", "assets/main.js", "assets/style.css", "assets/uplot.css", "data/core.js")
MOVES = 40
MOVE = """([id, value]) => {
  const box = document.getElementById(id);
  const began = performance.now();
  box.value = value;
  box.dispatchEvent(new Event('input'));
  document.body.getBoundingClientRect();
  return performance.now() - began;
}"""
missed = []


def say(what: str, value: float, limit: float, unit: str) -> None:
    """Print one figure."""
    well = value <= limit
    print(f"{what:<66} {value:>12,.1f} {unit}   at most {limit:,} {unit}{'' if well else '   MISSED'}", flush=True)
    if not well:
        missed.append(what)


def main() -> int:
    """Measure; return 1 where a limit is missed."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "site"
        warehouse = Warehouse.at(Path(work) / "warehouse")
        cells(warehouse, [Spec(), Spec(model="tiny-moe", architecture="moe", concurrency=4)], spread=0.02, repeats=2)
        with open_warehouse(warehouse, read_only_user=False, threads=1) as connection:
            publish(connection, folder, assets(joulemark_home()), Options(sql=False, traces=False))
        there = len(read(folder, "core")["rows"]["cell"]["codes"])
        print(f"first view with {there} rows: {size(folder) / 1e3:.1f} kB compressed")
        for groups in (1, 20):
            fill(folder, groups)
            say(f"first view with {ROWS} rows in {groups} groups, compressed (gzip)", size(folder) / 1e3, 300, "kB")
            for what, times in measure(folder).items():
                say(
                    f"{what}, {ROWS} rows in {groups} groups, median of {len(times)}",
                    statistics.median(times),
                    50,
                    "ms",
                )
                print(f"  slowest {max(times):.1f} ms")
    return 1 if missed else 0


def size(folder: Path) -> int:
    """Return what the first view takes over the wire."""
    return sum(len(gzip.compress((folder / name).read_bytes(), 6)) for name in FIRST_VIEW)


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return data of the page."""
    text = (folder / "data" / f"{name}.js").read_text()
    found: dict[str, Any] = json.loads(text[text.index(",") + 1 : -3])
    return found


def fill(folder: Path, groups: int) -> None:
    """Give the page 5,000 rows: models, engines and figures of their own, no two alike."""
    dice = random.Random(groups)  # noqa: S311 -- nothing secret is drawn
    core = read(folder, "core")
    columns = core["rows"] | read(folder, "more")
    first = {n: (c["words"][c["codes"][0]] if isinstance(c, dict) else c[0]) for n, c in columns.items()}
    rows = []
    for i in range(ROWS):
        j = dice.lognormvariate(0, 1)
        spread = dice.uniform(1.01, 1.3)
        group = i % groups
        row = first | {
            name: dice.uniform(0.5, 2) * v for name, v in first.items() if v and name.endswith(("_ms", "_w", "per_s"))
        }
        row |= {"cell": f"{dice.getrandbits(64):016x}", "model": f"vendor/model-{i % 60}", "group": group}
        row |= {
            "quantization": dice.choice(["bf16", "fp8", "nvfp4", "int4"]),
            "engine": dice.choice(["vllm", "sglang"]),
        }
        row |= {
            "accelerator": dice.choice(["NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA B200"]),
            "devices": 1 << i % 4,
        }
        row |= {"task": f"{64 << group % 8} tokens in, {32 + group} out", "concurrency": 1 << i % 9}
        row |= {"j": j, "half": spread - 1, "freedom": 2}
        row |= {"rank_best": i // groups + 1, "rank_worst": min(ROWS // groups, i // groups + 40)}
        rows.append(row | {"ranked_rows": ROWS // groups, "output_tokens_per_s": dice.uniform(50, 9000)})
    core["rows"], more = by_column(rows)
    (folder / "data" / "more.js").write_bytes(b'joulemark.receive("more",' + dumps(more) + b");\n")
    (folder / "data" / "core.js").write_bytes(b'joulemark.receive("core",' + dumps(core) + b");\n")


def measure(folder: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each move of a slider, or each letter of a search."""
    found = next(p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n)))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        times = {}
        for what, rank in (
            ("PUE moved", "energy"),
            ("price moved, ranked by cost", "cost"),
            ("utilisation moved", "energy"),
        ):
            page.goto("about:blank")
            page.goto(f"file://{folder}/index.html#rank={rank}&gpuHour=2")
            page.wait_for_selector("html[data-ready]", state="attached")
            box = {"P": "a-pue", "p": "a-price", "u": "a-utilisation"}[what[0]]
            values = [round(0.2 + 0.015 * i, 3) + (1 if box == "a-pue" else 0) for i in range(MOVES)]
            times[what] = [page.evaluate(MOVE, [box, str(v)]) for v in values]
        browser.close()
    return times


if __name__ == "__main__":
    sys.exit(main())
