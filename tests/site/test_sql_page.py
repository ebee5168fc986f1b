"""SQL in the page answers as `joulemark sql` does, without asking any other host."""

from __future__ import annotations

import json
import math
from urllib.parse import urlencode

import pytest
from tabs import Tab

from joulemark.warehouse.examples import EXAMPLES
from joulemark.warehouse.query.output import write
from joulemark.warehouse.site.contents import TRACES
from joulemark.warehouse.site.sql import ranks_by_cost

RAW = (*TRACES, "tokens", "request_latency")
QUERIES = [e.sql for e in EXAMPLES] + [ranks_by_cost(gpu_hour=2.5, price=0.2, pue=1.2, includes_power=False)]


def answer(tab, query):
    """Run a query; return its rows as texts."""
    tab.page.locator("#query").fill(query)
    tab.page.locator("#run").click()
    tab.page.locator("#result :is(table, .error)").wait_for(timeout=60_000)
    error = tab.page.locator("#result .error")
    assert error.count() == 0, error.inner_text()
    heads = tab.page.locator("#result thead th").all_inner_texts()
    cells = tab.page.evaluate(
        "[...document.querySelectorAll('#result tbody tr')].map(r => [...r.children].map(c => c.dataset.value))"
    )
    return heads, cells


def same(mine, theirs):
    """Return whether a cell of the page is a value of the command's JSON."""
    if theirs is None or isinstance(theirs, str):
        return mine == ("NULL" if theirs is None else theirs) or _instant(mine) == _instant(theirs)
    if isinstance(theirs, bool):
        return mine == str(theirs).lower()
    if isinstance(theirs, (int, float)):
        return mine != "NULL" and math.isclose(float(mine), theirs, rel_tol=1e-9)
    return mine != "NULL" and json.loads(mine) == theirs


def _instant(text):
    return str(text).replace("+00:00", "").replace("Z", "").replace("T", " ")[:23]


def wanted(connection, query, tmp_path):
    with (tmp_path / "rows.json").open("wb") as file:
        write(connection.sql(query), "json", file)
    return json.loads((tmp_path / "rows.json").read_text())


def redacted(value):
    """Return a value as it is published."""
    names = {"node-a": "node-1", "node-b": "node-2", "rack7": "node-3"}
    if isinstance(value, list):
        return [redacted(v) for v in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def opened(chromium, address):
    """One tab for all queries: the database takes seconds to load."""
    context = chromium.new_context()
    tab = Tab(context.new_page())
    context.route(
        "**/*",
        lambda r: (
            r.continue_()
            if r.request.url.startswith((address, "data:", "blob:"))
            else (tab.wrong.append(r.request.url), r.abort())
        ),
    )
    tab.page.on("console", lambda m: tab.wrong.append(m.text) if m.type in ("error", "warning") else None)
    tab.go(f"{address}/sql.html")
    tab.page.locator("#load-traces").click()
    tab.page.get_by_text("ready, with the raw traces").wait_for(timeout=60_000)
    yield tab
    context.close()


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_answers_are_equal(opened, connection, query, tmp_path):
    # Which rows a limit keeps depends on ties.
    query = query.removesuffix("\nlimit 20")
    rows = wanted(connection, query, tmp_path)
    rows = [r for r in rows if "made-by-simulator" not in r.values() and r.get("fidelity") != "simulated"]
    heads, cells = answer(opened, query)
    published = {t for (t,) in connection.duckdb.sql("select trial from trials where not simulated").fetchall()}
    rows = [r for r in rows if r.get("trial", next(iter(published))) in published]
    assert heads == list(rows[0])
    shown = sorted(cells, key=str)
    if "latest" not in query:
        assert len(shown) == min(len(rows), 500)
    by_first = [[redacted(v) for v in r.values()] for r in rows]
    unmatched = [c for c in cells if not any(all(map(same, c, r)) for r in by_first)]
    if "latest" not in query:
        assert unmatched == []
    assert opened.wrong == []


def test_a_command_line_takes_every_example_for_a_query():
    assert not [query for query in QUERIES if query.startswith("-")]


def test_nothing_can_reach_out(opened):
    opened.page.locator("#query").fill("select * from 'https://example.com/x.csv'")
    opened.page.locator("#run").click()
    opened.page.locator("#result .error").wait_for(timeout=30_000)
    assert opened.wrong == []


def test_a_mistake_is_said(opened):
    opened.page.locator("#query").fill("select nothing from leaderboard")
    opened.page.locator("#run").click()
    opened.page.locator("#result .error").wait_for()
    assert "nothing" in opened.page.locator("#result .error").inner_text()


def test_a_link_holds_the_query(tab, address):
    query = "select count(*)::int as n from leaderboard"
    tab.go(f"{address}/sql.html#{urlencode({'q': query})}")
    assert tab.page.locator("#result tbody td").inner_text() == "14"
