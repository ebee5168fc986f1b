"""axe finds nothing serious, in both themes, on a screen and on a phone."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest


@pytest.fixture(scope="module")
def axe(packages):
    return (packages / "node_modules" / "axe-core" / "axe.min.js").read_text()


def serious(tab, axe):
    # Not as a script element: the page allows none from elsewhere, and the protocol needs none.
    tab.page.evaluate(axe)
    found = tab.page.evaluate("axe.run().then(r => r.violations)")
    return [
        f"{v['impact']} {v['id']}: {v['help']} {[n['target'] for n in v['nodes']][:3]}"
        for v in found
        if v["impact"] in ("serious", "critical", "moderate")
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1360), ("dark", 390)])
def test_axe_finds_nothing(tab, address, axe, connection, theme, width):
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.emulate_media(color_scheme=theme)
    row, other = connection.sql("from leaderboard").to_pylist()[:2]
    keys = [("compare", f"{r['cell']}.{r['boundary']}.{r['fidelity']}") for r in (row, other)]
    trial = connection.sql("from trials where outcome = 'done' order by trial limit 1")["trial"][0].as_py()
    views = ["view=table&utilisation=0.4", "view=plots", urlencode([("view", "compare"), *keys]), "view=invalid"]
    views += [f"view=cell&cell={row['cell']}", f"view=trial&trial={trial}"]
    found = {}
    for view in views:
        tab.go(f"{address}/index.html#{view}")
        tab.loaded()
        tab.page.locator("[data-part]:not([hidden]) :is(table, svg)").first.wait_for(state="attached")
        tab.page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        found[view] = serious(tab, axe)
    for name in ("method", "history", "sql"):
        tab.page.goto(f"{address}/{name}.html")
        tab.page.locator("h2").first.wait_for()
        found[name] = serious(tab, axe)
    assert {k: v for k, v in found.items() if v} == {}
